"""The cases of a page in reading order: items under their category, turn by turn, the judgments of one pair together."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from reports.page import ItemView, JudgmentView

TEASER = 160
"""Characters of the question shown while a case is closed."""


@dataclass(frozen=True, slots=True)
class TurnCase:
    """One turn: the question, its reference, and each answer's text (None where the model gave none), as `item.answers`."""

    question: str | None
    reference: str | None
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """All readings by one judge of the same pair, whatever the order; or, with no `models`, of single answers to the item."""

    judge: str
    judging: str
    models: tuple[str, ...]
    disagrees: bool
    judgments: tuple[JudgmentView, ...]


@dataclass(frozen=True, slots=True)
class CaseView:
    """An item ready to be laid out. `tally` counts the readable verdicts of battles, `amiss` answers that are not "ok"."""

    anchor: str
    item: ItemView
    teaser: str
    turns: tuple[TurnCase, ...]
    meetings: tuple[Meeting, ...]
    tally: tuple[tuple[str, int], ...]
    unreadable: int
    amiss: int


@dataclass(frozen=True, slots=True)
class CategoryGroup:
    anchor: str
    category: str
    cases: tuple[CaseView, ...]


def group(items: Sequence[ItemView]) -> tuple[CategoryGroup, ...]:
    """The cases by category, in the order in which the categories first appear."""
    anchors = _anchors(items)
    by_category: dict[str, list[CaseView]] = {}
    for anchor, item in zip(anchors, items, strict=True):
        by_category.setdefault(item.category, []).append(_case(anchor, item))
    return tuple(
        CategoryGroup(f"category-{number}", category, tuple(cases))
        for number, (category, cases) in enumerate(by_category.items(), 1)
    )


def reading(judgment: JudgmentView) -> Literal["unreadable", "preferred", "grade", "other"]:
    """What kind of thing a judgment's outcome is, so that a page can say it in a sentence."""
    if judgment.unreadable is not None:
        return "unreadable"
    if len(judgment.models) > 1:
        return "preferred" if judgment.outcome in judgment.models else "other"
    return "grade" if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", judgment.outcome) else "other"


def _anchors(items: Iterable[ItemView]) -> list[str]:
    """A link to a case stays good when the report is made again with other items: it hashes the item's name."""
    seen: Counter[str] = Counter()
    anchors = []
    for item in items:
        name = f"{item.dataset}\0{item.item}".encode("utf-8", "surrogatepass")
        anchor = f"case-{hashlib.sha256(name).hexdigest()[:12]}"
        seen[anchor] += 1
        anchors.append(anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor]}")
    return anchors


def _case(anchor: str, item: ItemView) -> CaseView:
    verdicts = Counter(j.outcome for j in item.judgments if len(j.models) > 1 and j.unreadable is None)
    return CaseView(
        anchor=anchor,
        item=item,
        teaser=_teaser(item),
        turns=_turns(item),
        meetings=_meetings(item),
        tally=tuple(verdicts.most_common()),
        unreadable=sum(j.unreadable is not None for j in item.judgments),
        amiss=sum(answer.status != "ok" for answer in item.answers),
    )


def _teaser(item: ItemView) -> str:
    start = item.turns[0].question[: 4 * TEASER] if item.turns else ""
    line = " ".join(start.split())
    return line if len(line) <= TEASER else line[: TEASER - 1].rstrip() + "…"


def _turns(item: ItemView) -> tuple[TurnCase, ...]:
    # A text without a question would be a fault of the caller's; it is shown all the same.
    texts = list(zip_longest(*(answer.texts for answer in item.answers)))
    nothing = (None,) * len(item.answers)
    return tuple(
        TurnCase(turn.question if turn else None, turn.reference if turn else None, said or nothing)
        for turn, said in zip_longest(item.turns, texts)
    )


def _meetings(item: ItemView) -> tuple[Meeting, ...]:
    met: dict[tuple[str, str, tuple[str, ...]], list[JudgmentView]] = {}
    for judgment in item.judgments:
        pair = _pair(judgment.models) if len(judgment.models) > 1 else ()
        met.setdefault((judgment.judge, judgment.judging, pair), []).append(judgment)
    marked = {_pair(pair) for pair in item.inconsistent}
    differing = {key for key, judgments in met.items() if key[2] in marked and _differ(judgments)}
    # A pair is marked without its judge. Where no judge's readings differ in what is shown here, all of them are marked.
    unexplained = marked - {pair for _, _, pair in differing}
    return tuple(
        Meeting(
            key[0],
            key[1],
            judgments[0].models if key[2] else (),
            key in differing or key[2] in unexplained,
            tuple(judgments),
        )
        for key, judgments in met.items()
    )


def _pair(models: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(models))


def _differ(judgments: Iterable[JudgmentView]) -> bool:
    return len({j.outcome for j in judgments if j.unreadable is None}) > 1
