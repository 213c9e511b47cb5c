"""Our own JSON Lines: answers `{"item": "1", "turns": ["...", "..."]}`, and judge's replies `{"item": "1", "role": "grade",
"candidates": ["m"], "text": "..."}` or, with two candidates in the order shown, `"role": "pairwise"`.

`"dataset"` may be given where two datasets share an id. An item's id may be a whole number, as in files of items.
"""

from __future__ import annotations

import reprlib
from typing import Any

from arena.jsonl import BadLine
from arena.recordings.record import Record, identity

_KEYS = {"item", "dataset", "role", "turns", "text", "candidates"}


def record(raw: dict[str, Any]) -> Record:
    """The record of a line. Raises BadLine."""
    if set(raw) - _KEYS:
        raise BadLine(f"unknown keys {reprlib.repr(sorted(set(raw) - _KEYS))}; a line has {sorted(_KEYS)}")
    item, dataset = identity(raw, "item"), raw.get("dataset")
    if dataset is not None and not isinstance(dataset, str):
        raise BadLine(f"'dataset' is a name, not {reprlib.repr(dataset)}")
    role = raw.get("role", "answer")
    if role not in ("answer", "grade", "pairwise"):
        raise BadLine(f"'role' is 'answer', 'grade' or 'pairwise', not {reprlib.repr(role)}")
    turns = raw.get("turns", [raw.get("text")])
    texts = isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns)
    if ("turns" in raw) == ("text" in raw) or not texts:
        raise BadLine("a line has either 'text' (a text) or 'turns' (a list of texts)")
    candidates = raw.get("candidates", [])
    wanted = {"answer": 0, "grade": 1, "pairwise": 2}[role]
    if not isinstance(candidates, list) or len(candidates) != wanted or not all(isinstance(c, str) for c in candidates):
        shown = reprlib.repr(candidates)
        raise BadLine(f"role {role!r} goes with {wanted} names under 'candidates', not {shown}")
    return Record(texts=tuple(turns), item=item, dataset=dataset, role=role, candidates=tuple(candidates))
