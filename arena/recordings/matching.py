"""Which item a record without an id belongs to: told by the question's text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arena.paths import safe_name
from arena.recordings.record import Record
from judge.types import Item

_COLON = re.compile(r"[:：]\s*")


class Questions:
    """Items by what identifies them in files made elsewhere: the text of their first turn, whatever its spaces."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._by_text: dict[str, list[Item]] = {}
        self._by_first_line: dict[str, list[tuple[tuple[str, ...], Item]]] = {}
        self._by_file: dict[tuple[str, str], Item] = {}
        for item in items:
            self._by_text.setdefault(_folded(item.turns[0]), []).append(item)
            lines = _lines(item.turns[0])
            self._by_first_line.setdefault(lines[0], []).append((lines, item))
            self._by_file[safe_name(item.dataset), item.id] = item

    def of(self, record: Record) -> list[Item]:
        """The items that a record answers: several where the same question is asked in several places."""
        if record.item is not None:
            item = self._by_file.get((record.file, record.item))
            return [] if item is None else [item]
        if record.question:
            return self._by_text.get(_folded(record.question), [])
        found = self._by_text.get(_folded(record.prompt)) or self._in(_lines(record.prompt))
        own = [item for item in found if safe_name(item.dataset) == record.file]
        return own or found

    def _in(self, prompt: Sequence[str]) -> list[Item]:
        """The items whose question stands in a prompt as whole lines (the first perhaps after "Question:").

        Worked examples come before the question, so the one that ends last is meant; of those, the longest.
        """
        best: tuple[int, int] = (0, 0)
        found: list[Item] = []
        for number, line in enumerate(prompt):
            for start in (line, *(line[colon.end() :] for colon in _COLON.finditer(line))):
                for lines, item in self._by_first_line.get(start, ()):
                    if lines[1:] == tuple(prompt[number + 1 : number + len(lines)]):
                        reach = (number + len(lines), sum(map(len, lines)))
                        if reach > best:
                            best, found = reach, []
                        if reach == best:
                            found.append(item)
        return found


def _folded(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> tuple[str, ...]:
    """The lines that hold something, their spaces folded."""
    return tuple(line for line in map(_folded, text.split("\n")) if line) or ("",)
