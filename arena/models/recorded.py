"""Answers and judge replies made elsewhere, from files (see arena/recordings). Also the fake that tests use: nothing is
patched for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arena.jsonl import BadFile
from arena.recordings.matching import Questions
from arena.recordings.reading import Format, read_recording
from arena.recordings.record import Record
from judge.types import Address, Item, Request, Response

_Place = tuple[str | None, str, str, tuple[str, ...]]
_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of a run's items have a recorded answer, and how many of the recorded answers belong to one of them."""

    items: int
    answered: int
    answers: int
    used: int
    missing: tuple[str, ...]


class RecordedBackend:
    """Looks up what each request is about. A request without a line fails with the place where it was looked for."""

    def __init__(self, name: str, paths: Sequence[Path], form: Format | None = None) -> None:
        """Reads the files. Raises BadFile with every bad line."""
        self.name = name
        self.paths = tuple(paths)
        self._lines: dict[_Place, Record] = {}
        self._read_at: dict[_Place, str] = {}
        self._unplaced: list[tuple[str, Record]] = []
        models: dict[str, None] = {}
        problems = []
        for path in self.paths:
            for place, found in read_recording(path, form):
                if isinstance(found, Record):
                    if found.model:
                        models[found.model] = None
                    problems += self._place(place, found)
                else:
                    problems.append(f"{place}: {found}")
        if len(models) > 1:
            told = ", ".join(list(models)[:5]) + (" ..." if len(models) > 5 else "")
            problems.append(
                f"{self._files()}: holds answers of {len(models)} models ({told}): split it, a file a model"
            )
        self._raise(problems)

    def _place(self, place: str, record: Record) -> list[str]:
        if record.item is None or record.file:
            self._unplaced.append((place, record))
            return []
        return self._keep((record.dataset, record.item, record.role, record.candidates), place, record)

    def _keep(self, where: _Place, place: str, record: Record) -> list[str]:
        if where in self._lines:
            known = self._read_at[where]
            if record.item is not None and not record.file:
                told = f"item {where[1]!r} has a line for this role and these candidates already: {known}"
                return [f"{place}: {told}"]
            if record.texts == self._lines[where].texts:
                return []
            return [f"{place}: item {where[1]!r} is answered differently in {known}: keep one of the two"]
        self._lines[where], self._read_at[where] = record, place
        return []

    def _raise(self, problems: list[str]) -> None:
        if problems:
            more = len(problems) - _MOST_PROBLEMS
            rest = [f"recording {self.name}: and {more} more lines"] if more > 0 else []
            raise BadFile(problems[:_MOST_PROBLEMS] + rest)

    def match(self, items: Sequence[Item], asked: Sequence[Item] | None = None) -> Coverage:
        """Gives the answers without an id to the items they belong to, by the question's text, and counts what is covered.

        `items` are all the datasets hold (a question among the worked examples of another is told from it by that),
        `asked` those that the run asks. Raises BadFile where one item is answered twice, differently.
        """
        questions = Questions(items)
        unplaced, self._unplaced = self._unplaced, []
        problems = []
        for place, record in unplaced:
            for item in questions.of(record):
                problems += self._keep((item.dataset, item.id, "answer", ()), place, record)
        self._raise(problems)
        asked = items if asked is None else asked
        used = {id(self._answer(item)) for item in asked if self._answer(item) is not None}
        missing = tuple(f"{item.dataset}/{item.id}" for item in asked if self._answer(item) is None)
        placed = {id(record) for record in self._lines.values() if record.role == "answer"}
        answers = len(placed | {id(record) for _, record in unplaced})
        return Coverage(len(asked), len(asked) - len(missing), answers, len(used), missing)

    def _answer(self, item: Item) -> Record | None:
        anywhere = self._lines.get((None, item.id, "answer", ()))
        return self._lines.get((item.dataset, item.id, "answer", ()), anywhere)

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        async for request in requests:
            yield self.lookup(request)

    def lookup(self, request: Request) -> Response:
        """The recorded response, or one with status "error:not_recorded" that says what is missing where."""
        where = request.address
        models = () if where.role == "answer" else where.models
        record = self._lines.get((where.dataset, where.item, where.role, models))
        if record is None:
            record = self._lines.get((None, where.item, where.role, models))
        if record is None or where.turn >= len(record.texts):
            error = f"{self._files()} holds no {_describe(where, record)}"
            return Response(key=request.key, status="error:not_recorded", error=error)
        text = record.texts[where.turn]
        status = "ok" if text.strip() else "empty"
        if record.status and where.turn == len(record.texts) - 1:
            status = record.status
        return Response(key=request.key, status=status, text=text, finish_reason="stop")

    def _files(self) -> str:
        return " or ".join(map(str, self.paths))

    async def close(self) -> None:
        self._lines.clear()


def coverage_note(backend: RecordedBackend, coverage: Coverage) -> str:
    """One sentence where a recording answers only a part of the items, else "". Raises BadFile where it answers none."""
    if coverage.answered == coverage.items:
        return ""
    if not coverage.answered:
        files = " or ".join(map(str, backend.paths))
        raise BadFile(
            [
                f"model {backend.name}: none of the {coverage.answers} answers in {files} belongs to one of the "
                f"{coverage.items} items: compare their ids, or their questions where the file has no ids"
            ]
        )
    names = " or ".join(path.name for path in backend.paths)
    shown = ", ".join(coverage.missing[:3])
    more = f" and {len(coverage.missing) - 3} more" if len(coverage.missing) > 3 else ""
    spare = coverage.answers - coverage.used
    unused = f"; {spare} of its {coverage.answers} answers belong to no item of this run" if spare else ""
    return (
        f"{backend.name}: {coverage.answered} of {coverage.items} items have an answer in {names}{unused}; "
        f"without one: {shown}{more}"
    )


def _describe(where: Address, record: Record | None) -> str:
    if where.role == "answer":
        if record is not None:
            return f"turn {where.turn + 1} of item {where.item!r}: 'turns' has {len(record.texts)} there"
        return f"answer to item {where.item!r}"
    return f"{where.role} reply to item {where.item!r} for candidates {list(where.models)}"
