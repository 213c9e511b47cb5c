"""From the judgments of a case to its verdict: each readable order is half a vote, and unreadable ones are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from judge.types import JudgingKind, Judgment


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one judge's judgments of a case add up to.

    `models` are in the case's own order and `preference` (the mean over readable orders) speaks of `models[0]`; `score` is the
    mean of readable scores. Both are None where nothing was readable. `consistent` tells whether both orders chose the
    same answer, None where fewer than two were read.
    """

    judging: str
    kind: JudgingKind
    judge: str
    dataset: str
    item: str
    category: str
    models: tuple[str, ...]
    preference: float | None
    score: float | None
    consistent: bool | None
    n_readable: int
    n_asked: int
    sample: int = 0


def upright(judgment: Judgment) -> float | None:
    """The preference for the case's first answer, in whichever order it was shown."""
    if judgment.preference is None or not judgment.swapped:
        return judgment.preference
    return 1.0 - judgment.preference


def verdicts(judgments: Iterable[Judgment]) -> list[Verdict]:
    """One verdict a case, judging and judge, in the order in which the cases first appear."""
    cases: dict[tuple[object, ...], list[Judgment]] = {}
    for judgment in judgments:
        models = judgment.models[::-1] if judgment.swapped else judgment.models
        place = (judgment.judging, judgment.judge, judgment.dataset, judgment.item, judgment.sample, *models)
        cases.setdefault(place, []).append(judgment)
    return [_verdict(group) for group in cases.values()]


def _verdict(group: list[Judgment]) -> Verdict:
    first = group[0]
    preferences = [p for p in map(upright, group) if p is not None]
    scores = [j.score for j in group if j.score is not None]
    return Verdict(
        judging=first.judging,
        kind=first.kind,
        judge=first.judge,
        dataset=first.dataset,
        item=first.item,
        category=first.category,
        models=first.models[::-1] if first.swapped else first.models,
        preference=sum(preferences) / len(preferences) if preferences else None,
        score=sum(scores) / len(scores) if scores else None,
        consistent=len({_side(p) for p in preferences}) == 1 if len(preferences) > 1 else None,
        n_readable=len(preferences) + len(scores),
        n_asked=len(group),
        sample=first.sample,
    )


def _side(preference: float) -> int:
    return (preference > 0.5) - (preference < 0.5)
