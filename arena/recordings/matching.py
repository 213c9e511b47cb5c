"""Which item a record without an id belongs to: told by the question's text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arena.paths import safe_name
from arena.recordings.record import Record
from judge.types import Item

_COLON = re.compile(r"[:：]\s*")
_PART = re.compile(r"_\d+$")
"""What OpenCompass adds to the name of a dataset whose predictions it made in parts."""


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
        self._lengths = set(map(len, self._by_first_line))

    def of(self, record: Record) -> list[Item]:
        """The items that a record answers: several where the same question is asked in several places."""
        if record.item is not None:
            item = self._by_file.get((record.file, record.item))
            return [] if item is None else [item]
        if record.question:
            return self._by_text.get(_folded(record.question), [])
        found = self._by_text.get(_folded(record.prompt)) or self._in(_lines(record.prompt))
        for name in (record.file, _PART.sub("", record.file)):
            if own := [item for item in found if safe_name(item.dataset) == name]:
                return _with_these_choices(own, record.prompt)
        return _with_these_choices(found, record.prompt)

    def _in(self, prompt: Sequence[str]) -> list[Item]:
        """The items whose question stands in a prompt as whole lines (the first perhaps after "Question:").

        Worked examples come before the question, so the one that ends last is meant; of those, the longest.
        """
        best: tuple[int, int] = (0, 0)
        found: list[Item] = []
        for number, line in enumerate(prompt):
            for start in (0, *(colon.end() for colon in _COLON.finditer(line))):
                if len(line) - start not in self._lengths:  # a long line with a thousand colons is not copied as often
                    continue
                for lines, item in self._by_first_line.get(line[start:], ()):
                    if lines[1:] == tuple(prompt[number + 1 : number + len(lines)]):
                        reach = (number + len(lines), sum(map(len, lines)))
                        if reach > best:
                            best, found = reach, []
                        if reach == best:
                            found.append(item)
        return found


def _with_these_choices(items: list[Item], prompt: str) -> list[Item]:
    """Of items with the same question those whose choices stand in the prompt, where that tells them apart."""
    if len(items) < 2:
        return items
    text = _folded(prompt)
    return [item for item in items if all(_folded(choice.text) in text for choice in item.choices)] or items


def _folded(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> tuple[str, ...]:
    """The lines that hold something, their spaces folded."""
    return tuple(line for line in map(_folded, text.split("\n")) if line) or ("",)
