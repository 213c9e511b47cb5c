"""Answers and judge replies made elsewhere, from JSON Lines. Also the fake that tests use: nothing is patched for them.

A candidate's line is `{"item": "writing-1", "turns": ["first answer", "second answer"]}`; a judge's is
`{"item": "writing-1", "role": "grade", "candidates": ["m"], "text": "..."}` or, with two candidates in the order
shown, `"role": "pairwise"`. `"dataset"` may be given where two datasets share an id. An item's id may be a whole number, as in
files of items.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from arena.jsonl import BadFile, BadLine, read_jsonl
from judge.types import Address, Request, Response

_Place = tuple[str | None, str, str, tuple[str, ...]]
_MOST_PROBLEMS = 20
_KEYS = {"item", "dataset", "role", "turns", "text", "candidates"}


class RecordedBackend:
    """Looks up what each request is about. A request without a line fails with the place where it was looked for."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        """Reads the files. Raises BadFile with every bad line."""
        self.name = name
        self.paths = tuple(paths)
        self._lines: dict[_Place, tuple[str, ...]] = {}
        self._read_at: dict[_Place, str] = {}
        problems = [problem for path in self.paths for problem in self._read(path)]
        if problems:
            more = len(problems) - _MOST_PROBLEMS
            rest = [f"recording {name}: and {more} more lines"] if more > 0 else []
            raise BadFile(problems[:_MOST_PROBLEMS] + rest)

    def _read(self, path: Path) -> list[str]:
        problems = []
        for number, raw in read_jsonl(path):
            try:
                if isinstance(raw, BadLine):
                    raise raw
                place, texts = _parse(raw)
                if place in self._lines:
                    raise BadLine(
                        f"item {place[1]!r} has a line for this role and these candidates already: {self._read_at[place]}"
                    )
                self._lines[place], self._read_at[place] = texts, f"{path}:{number}"
            except BadLine as error:
                problems.append(f"{path}:{number}: {error}")
        return problems

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        async for request in requests:
            yield self.lookup(request)

    def lookup(self, request: Request) -> Response:
        """The recorded response, or one with status "error:not_recorded" that says what is missing where."""
        where = request.address
        models = () if where.role == "answer" else where.models
        texts = self._lines.get((where.dataset, where.item, where.role, models))
        if texts is None:
            texts = self._lines.get((None, where.item, where.role, models))
        if texts is None or where.turn >= len(texts):
            error = f"{self._files()} holds no {_describe(where, texts)}"
            return Response(key=request.key, status="error:not_recorded", error=error)
        text = texts[where.turn]
        return Response(key=request.key, status="ok" if text.strip() else "empty", text=text, finish_reason="stop")

    def _files(self) -> str:
        return " or ".join(map(str, self.paths))

    async def close(self) -> None:
        self._lines.clear()


def _describe(where: Address, texts: tuple[str, ...] | None) -> str:
    if where.role == "answer":
        if texts is not None:
            return f"turn {where.turn + 1} of item {where.item!r}: 'turns' has {len(texts)} there"
        return f"answer to item {where.item!r}"
    return f"{where.role} reply to item {where.item!r} for candidates {list(where.models)}"


def _parse(raw: dict[str, Any]) -> tuple[_Place, tuple[str, ...]]:
    if set(raw) - _KEYS:
        raise BadLine(f"unknown keys {sorted(set(raw) - _KEYS)}; a line has {sorted(_KEYS)}")
    item, dataset = raw.get("item"), raw.get("dataset")
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    if not isinstance(item, str) or not item:
        raise BadLine(f"'item' is the id of an item, not {item!r}")
    if dataset is not None and not isinstance(dataset, str):
        raise BadLine(f"'dataset' is a name, not {dataset!r}")
    role = raw.get("role", "answer")
    if role not in ("answer", "grade", "pairwise"):
        raise BadLine(f"'role' is 'answer', 'grade' or 'pairwise', not {role!r}")
    turns = raw.get("turns", [raw.get("text")])
    texts = isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns)
    if ("turns" in raw) == ("text" in raw) or not texts:
        raise BadLine("a line has either 'text' (a text) or 'turns' (a list of texts)")
    candidates = raw.get("candidates", [])
    wanted = {"answer": 0, "grade": 1, "pairwise": 2}[role]
    if not isinstance(candidates, list) or len(candidates) != wanted or not all(isinstance(c, str) for c in candidates):
        raise BadLine(f"role {role!r} goes with {wanted} names under 'candidates', not {candidates!r}")
    return (dataset, item, role, tuple(candidates)), tuple(turns)
