"""Which of two answers is better: asked in both orders, because judges favour a side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from judge.prompt import Prompt, fence
from judge.read import read_label
from judge.types import TIE, Address, Asker, Case, Exchange, JudgingKind, Judgment, Message, Request, illustrated

_PREFERENCE = {"A": 1.0, TIE: 0.5, "B": 0.0}


@dataclass(frozen=True, slots=True)
class PairwiseJudge:
    """Asks which of two answers is better. `prompts` by language ("" is the one used where a language has none).

    `infer_order` "double" asks both orders; "random" asks one, chosen by a hash of seed, item and pair, so that a subset
    or another order of items changes nothing.
    """

    judging: str
    asker: Asker
    prompts: Mapping[str, Prompt]
    salt: bytes
    infer_order: Literal["double", "random"] = "double"
    seed: int = 0
    max_tokens: int | None = None
    kind: JudgingKind = "pairwise"

    @property
    def name(self) -> str:
        return self.asker.name

    @property
    def questions_per_case(self) -> int:
        return 2 if self.infer_order == "double" else 1

    def questions(self, case: Case, judgments: Sequence[Judgment]) -> list[Request]:
        """Both orders (or one) of the case; nothing once there are judgments."""
        if judgments:
            return []
        if self.infer_order == "double":
            return [self._ask(case), self._ask(case.swap())]
        names = f"{self.seed}\n{case.item.dataset}\n{case.item.id}\n" + "\n".join(sorted(case.models))
        first = sorted(case.models)[hashlib.sha256(names.encode("utf-8", "surrogatepass")).digest()[0] & 1]
        return [self._ask(case if case.models[0] == first else case.swap())]

    def _ask(self, case: Case) -> Request:
        prompt = self.prompts.get(case.item.language) or self.prompts[""]
        address = Address(case.item.dataset, case.item.id, "pairwise", case.models)
        return self.asker.request(self.messages(case), address, prompt=prompt.hash, max_tokens=self.max_tokens)

    def messages(self, case: Case) -> tuple[Message, ...]:
        """The question as the judge reads it, A being the case's first answer."""
        prompt = self.prompts.get(case.item.language) or self.prompts[""]
        first, second = case.answers
        turns: list[dict[str, Any]] = [
            {"question": question, "reference": reference, "a": a, "b": b}
            for question, reference, a, b in zip(
                case.item.turns, _references(case), first.texts, second.texts, strict=True
            )
        ]
        return illustrated(prompt.messages({"turns": turns, "fence": fence(self.salt, case)}), case.item)

    def read(self, case: Case, exchange: Exchange) -> Judgment:
        """The judgment in the order that was shown (`exchange.request.address.models`)."""
        prompt = self.prompts.get(case.item.language) or self.prompts[""]
        reading = read_label(exchange.response, prompt.labels)
        shown = exchange.request.address.models
        return Judgment(
            judging=self.judging,
            kind="pairwise",
            judge=self.name,
            dataset=case.item.dataset,
            item=case.item.id,
            category=case.item.category,
            models=shown,
            swapped=shown != case.models,
            choice=reading.value,
            preference=None if reading.value is None else _PREFERENCE[reading.value],
            unreadable=reading.unreadable,
            key=exchange.request.key,
            sample=case.sample,
        )


def _references(case: Case) -> tuple[str | None, ...]:
    return case.item.reference or (None,) * len(case.item.turns)
