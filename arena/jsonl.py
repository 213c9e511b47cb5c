"""Reading JSON Lines strictly: every problem with its file and line, no value changed on the way in.

Lines end at LF only (U+2028 may stand inside a string), NaN is no JSON, and a key given twice is an error, because JSON
readers would silently take the last.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class BadLine(ValueError):
    """A line that can't be used; the message says why, without file and line."""


class BadFile(ValueError):
    """A file that can't be used. `problems` are complete sentences, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse(text: str) -> Any:
    """A JSON value. Raises BadLine."""
    try:
        return json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
        )
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise BadLine(f"no valid JSON: {error.msg} at {line}character {error.colno}") from None
    except RecursionError:
        raise BadLine("nested too deeply") from None


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object. Raises BadLine."""
    value = parse(text)
    if not isinstance(value, dict):
        raise BadLine(f"a JSON object is wanted here, not {type(value).__name__}")
    return value


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Pairs of line number (from 1) and object, or the BadLine found there; empty lines are passed over.

    Raises BadFile where there is no such file.
    """
    try:
        handle = path.open("rb")
    except OSError as error:
        raise BadFile([f"{path}: can't be read: {error.strerror}"]) from None
    with handle:
        for number, raw in enumerate(handle, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n")
                if text:
                    yield number, parse_object(text)
            except UnicodeDecodeError as error:
                yield number, BadLine(f"no UTF-8 (byte {error.start + 1}): save the file as UTF-8")
            except BadLine as error:
                yield number, error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise BadLine(f"the key {twice!r} is given twice")
    return value


def _no_constant(name: str) -> Any:
    raise BadLine(f"{name} is no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise BadLine(f"the number {text[:20]} is too large")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # more than 4,300 digits
        raise BadLine(f"the number {text[:20]}... is too large") from None
