"""How good is one answer: a grade on a scale, with or without a reference answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judge.prompt import Prompt, fence
from judge.read import read_grade
from judge.types import Address, Asker, Case, Exchange, JudgingKind, Judgment, Message, Request, illustrated


@dataclass(frozen=True, slots=True)
class GradeJudge:
    """Asks for a grade of one answer (of the whole dialogue where there are several turns)."""

    judging: str
    asker: Asker
    prompts: Mapping[str, Prompt]
    salt: bytes
    max_tokens: int | None = None
    kind: JudgingKind = "grade"

    @property
    def name(self) -> str:
        return self.asker.name

    @property
    def questions_per_case(self) -> int:
        return 1

    def questions(self, case: Case, judgments: Sequence[Judgment]) -> list[Request]:
        """One question for the case's only answer; nothing once there is a judgment."""
        if judgments:
            return []
        address = Address(case.item.dataset, case.item.id, "grade", case.models)
        prompt = self._prompt(case)
        return [self.asker.request(self.messages(case), address, prompt=prompt.hash, max_tokens=self.max_tokens)]

    def _prompt(self, case: Case) -> Prompt:
        return self.prompts.get(case.item.language) or self.prompts[""]

    def messages(self, case: Case) -> tuple[Message, ...]:
        """The question as the judge reads it."""
        references = case.item.reference or (None,) * len(case.item.turns)
        turns = [
            {"question": question, "reference": reference, "answer": answer}
            for question, reference, answer in zip(case.item.turns, references, case.answers[0].texts, strict=True)
        ]
        prompt = self._prompt(case)
        assert prompt.scale is not None
        scale = {"low": prompt.scale.low, "high": prompt.scale.high}
        return illustrated(
            prompt.messages({"turns": turns, "fence": fence(self.salt, case), "scale": scale}), case.item
        )

    def read(self, case: Case, exchange: Exchange) -> Judgment:
        """The grade, or why there is none."""
        scale = self._prompt(case).scale
        assert scale is not None
        reading = read_grade(exchange.response, scale)
        return Judgment(
            judging=self.judging,
            kind="grade",
            judge=self.name,
            dataset=case.item.dataset,
            item=case.item.id,
            category=case.item.category,
            models=case.models,
            choice=reading.value,
            score=None if reading.value is None else float(reading.value),
            unreadable=reading.unreadable,
            key=exchange.request.key,
            sample=case.sample,
        )
