"""From a file or folder of recorded answers to its records: which format it has, and what stands where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from arena.jsonl import BadFile, BadLine, parse, read_jsonl
from arena.recordings import alpaca_eval, arena_jsonl, fastchat, opencompass, table
from arena.recordings.record import Record

Format = Literal["arena", "alpaca_eval", "fastchat", "opencompass", "csv"]

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip, or a workbook",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}

Placed = tuple[str, Record | BadLine]
"""A place ("file:line", "file: output 3") and what stands there."""


def files_of(path: Path) -> list[Path]:
    """The file, or those of a predictions folder. Raises BadFile for a folder that is none."""
    if not path.is_dir():
        return [path]
    if files := sorted(path.glob("*.json")):
        return files
    models = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and any(entry.glob("*.json")))
    if models:
        raise BadFile([f"{path}: holds the predictions of {', '.join(models)}: give the folder of one model"])
    raise BadFile([f"{path}: a folder of recorded answers holds predictions as .json files, and this one holds none"])


def read_recording(path: Path, form: Format | None = None) -> Iterator[Placed]:
    """Everything a file holds, in its order; `form` is found by content where not given. Raises BadFile."""
    for file in files_of(path):
        match form or sniffed(file):
            case "arena":
                yield from _lines(file, arena_jsonl.record)
            case "fastchat":
                yield from _lines(file, fastchat.record)
            case "alpaca_eval":
                yield from _outputs(file)
            case "opencompass":
                yield from _predictions(file)
            case "csv":
                for number, found in table.records(_text(file)):
                    yield f"{file}:{number}", found


def sniffed(path: Path) -> Format:
    """The format, by content. What is like none is read as ours, so that its errors are told line by line."""
    first = _first_line(path)
    if first.startswith("["):
        return "alpaca_eval" if first == "[" or first.startswith("[{") or path.suffix == ".json" else "arena"
    if first.startswith("{"):
        return _of_object(first, path.suffix == ".json")
    return "csv" if path.suffix == ".csv" or table.is_table(first) else "arena"


def _first_line(path: Path) -> str:
    """The first line that holds something, "" where none does. Raises BadFile."""
    try:
        with path.open("rb") as handle:
            start = next((line for line in handle if line.strip()), b"")
    except OSError as error:
        raise BadFile([f"{path}: can't be read: {error.strerror}"]) from None
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise BadFile([f"{path}: a packed file ({name}): unpack it, save a workbook as CSV"])
    return start.decode("utf-8-sig", "replace").strip()


def _of_object(first: str, whole: bool) -> Format:
    """What begins with an object. `whole`: the file is said to be one JSON value, not a line each."""
    if first == "{":
        return "opencompass"
    try:
        value = parse(first)
    except BadLine:
        return "opencompass" if whole else "arena"
    if "item" not in value and ("question_id" in value or "uid" in value):
        return "fastchat"
    predictions = any(isinstance(one, dict) and "prediction" in one for one in value.values())
    return "opencompass" if predictions or (whole and not value) else "arena"


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadFile([f"{path}: can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise BadFile([f"{path}: no UTF-8 (byte {error.start + 1}): save the file as UTF-8"]) from None


def _lines(path: Path, read: Callable[[dict[str, Any]], Record]) -> Iterator[Placed]:
    for number, raw in read_jsonl(path):
        yield f"{path}:{number}", raw if isinstance(raw, BadLine) else _or_bad(read, raw)


def _outputs(path: Path) -> Iterator[Placed]:
    value = _document(path)
    if not isinstance(value, list):
        raise BadFile([f"{path}: AlpacaEval's outputs are a list, not {type(value).__name__}"])
    for number, raw in enumerate(value, 1):
        yield f"{path}: output {number}", _or_bad(alpaca_eval.record, raw)


def _predictions(path: Path) -> Iterator[Placed]:
    value = _document(path)
    if not isinstance(value, dict):
        raise BadFile([f"{path}: a file of predictions is an object of numbers, not {type(value).__name__}"])
    for number, raw in value.items():
        yield f"{path}: prediction {number}", _or_bad(lambda one: opencompass.record(one, path.stem), raw)


def _document(path: Path) -> Any:
    try:
        return parse(_text(path))
    except BadLine as error:
        raise BadFile([f"{path}: {error}"]) from None


def _or_bad(read: Callable[[Any], Record], raw: Any) -> Record | BadLine:
    try:
        return read(raw)
    except BadLine as error:
        return error
