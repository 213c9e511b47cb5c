"""The straight line: items are asked, answers make cases, judges ask and read, judgments are kept.

There is no barrier between the stages: a case is judged as soon as its answers exist. Everything is stored as it comes;
what follows (ratings, report) starts from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from arena.elicit.dialogue import next_request
from arena.records import LeftOutCase
from arena.store import Store
from arena.switchboard import Switchboard
from judge.prompt import Prompt
from judge.types import Answer, Asker, Case, Exchange, Item, Judge, Judgment


@dataclass(frozen=True, slots=True)
class Asking:
    """How the items of one dataset are put to candidates."""

    prompts: Mapping[str, Prompt] | None
    max_tokens: int | None
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Docket:
    """A judge and the cases it hears: the datasets, and the pairs (or single models) whose answers it compares."""

    judge: Judge
    datasets: frozenset[str]
    sides: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, ready to be walked."""

    run: str
    candidates: tuple[Asker, ...]
    items: tuple[Item, ...]
    asking: Mapping[str, Asking]
    dockets: tuple[Docket, ...]
    window: int

    def questions_of(self, model: str) -> int:
        """How many requests `model` will get if nothing fails, as candidate and as judge."""
        own = self.items if model in (c.name for c in self.candidates) else ()
        return sum(len(item.turns) * self.asking[item.dataset].samples for item in own) + sum(
            len(docket.sides) * docket.judge.questions_per_case * self.asking[item.dataset].samples
            for item in self.items
            for docket in self.dockets
            if docket.judge.name == model and item.dataset in docket.datasets
        )


async def walk(plan: Plan, board: Switchboard, store: Store) -> None:
    """Takes every item of the plan down the line, at most `plan.window` items at once."""
    waiting: Iterator[Item] = iter(plan.items)

    async def walker() -> None:
        for item in waiting:
            await _walk_item(plan, item, board, store)

    async with asyncio.TaskGroup() as walkers:
        for _ in range(min(plan.window, len(plan.items))):
            walkers.create_task(walker())


async def _walk_item(plan: Plan, item: Item, board: Switchboard, store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        for sample in range(plan.asking[item.dataset].samples):
            answers = {
                asker.name: tasks.create_task(_collect(asker, item, sample, plan.asking[item.dataset], board))
                for asker in plan.candidates
            }
            for docket in plan.dockets:
                if item.dataset in docket.datasets:
                    for sides in docket.sides:
                        told = [answers[model] for model in sides]
                        tasks.create_task(_hear(docket.judge, item, sample, told, plan.run, board, store))


async def _collect(asker: Asker, item: Item, sample: int, asking: Asking, board: Switchboard) -> Answer:
    exchanges: tuple[Exchange, ...] = ()
    while (request := next_request(asker, item, exchanges, asking.prompts, asking.max_tokens, sample)) is not None:
        exchanges = (*exchanges, Exchange(request, await board.ask(request)))
    return Answer(asker.name, exchanges)


async def _hear(
    judge: Judge,
    item: Item,
    sample: int,
    answers: Sequence[asyncio.Task[Answer]],
    run: str,
    board: Switchboard,
    store: Store,
) -> None:
    case = Case(item, tuple([await answer for answer in answers]), sample)
    judgments: list[Judgment] = []
    missing: list[str] = []
    reason = not_judgeable(case, judge)
    if reason is not None:
        missing = [reason] * max(judge.questions_per_case, 1)
    elif judge.questions_per_case == 0:
        judgments = [judge.read(case, case.answers[0].exchanges[-1])]
    else:
        while not missing and (requests := judge.questions(case, judgments)):
            responses = await asyncio.gather(*(board.ask(request) for request in requests))
            for request, response in zip(requests, responses, strict=True):
                if response.failed:
                    missing.append("reply_missing")
                else:
                    judgments.append(judge.read(case, Exchange(request, response)))
    if judgments:
        store.keep_judgments(run, judgments)
    if missing:
        store.keep_left_out(run, [left_out(judge, case, missing[0], len(missing))])


def not_judgeable(case: Case, judge: Judge) -> str | None:
    """Why a case can't be judged ("answer_missing", "answer_empty", ...), or None. Rules read what came, even nothing."""
    for answer in case.answers:
        if any(exchange.response.failed for exchange in answer.exchanges):
            return "answer_missing"
    if judge.questions_per_case == 0:
        return None
    statuses = [answer.status for answer in case.answers if not answer.judgeable]
    return f"answer_{statuses[0]}" if statuses else None


def left_out(judge: Judge, case: Case, reason: str, questions: int) -> LeftOutCase:
    return LeftOutCase(
        judging=judge.judging,
        kind=judge.kind,
        judge=judge.name,
        dataset=case.item.dataset,
        item=case.item.id,
        category=case.item.category,
        models=case.models,
        reason=reason,
        questions=questions,
    )


INCOMPLETE = frozenset({"answer_missing", "reply_missing", "not_reached"})
"""The reasons that make a run incomplete. An empty or filtered answer is an outcome; a missing one is a gap."""


def is_complete(cases: Iterable[LeftOutCase], failures: int) -> bool:
    """Whether everything asked for came back."""
    return failures == 0 and not any(case.reason in INCOMPLETE for case in cases)
