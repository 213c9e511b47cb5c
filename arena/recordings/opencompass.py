"""A file of an OpenCompass predictions folder: `{"0": {"origin_prompt": ..., "prediction": "..."}, "1": ...}`.

`origin_prompt` is a text, or a list of `{"role": "HUMAN", "prompt": "..."}`; the last thing a person says there holds the
question. The numbers are positions, which a subset or another order would shift: they are not used. Our own predictions
are written in this form, and carry the item's id besides.
"""

from __future__ import annotations

import reprlib
from typing import Any

from arena.jsonl import BadLine
from arena.recordings.record import Record, identity, text_of
from judge.types import ANSWERED

_PEOPLE = ("HUMAN", "user")


def record(raw: Any, file: str) -> Record:
    """The record of one prediction in the file called `file` (without ending). Raises BadLine."""
    if not isinstance(raw, dict):
        raise BadLine(f"an object with 'origin_prompt' and 'prediction' is wanted, not {type(raw).__name__}")
    said = raw.get("prediction")
    texts: list[Any] = said if isinstance(said, list) else [said]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadLine(f"'prediction' is a text, not {reprlib.repr(said)}")
    status = text_of(raw, "status", "")
    if status and status not in ANSWERED:
        raise BadLine(f"'status' is one of {', '.join(sorted(ANSWERED))}, not {reprlib.repr(status)}")
    item = identity(raw, "item") if "item" in raw else None
    prompt = "" if item is not None else _prompt(raw.get("origin_prompt"))
    return Record(texts=tuple(texts), item=item, prompt=prompt, file=file, status=status)


def _prompt(value: Any) -> str:
    prompt: Any = None
    if isinstance(value, str):
        prompt = value
    elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
        said = [part.get("prompt") for part in value if part.get("role") in _PEOPLE]
        prompt = said[-1] if said else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadLine(f"'origin_prompt' holds no question: {reprlib.repr(value)}")
    return prompt
