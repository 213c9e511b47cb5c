"""Answers that a rule can compare: a judge that asks nothing and reads the candidate's own last line.

The candidate is asked to end with a line "Answer: X" (in Chinese "答案：X"). An answer without that line, or with two that
differ, is unreadable, which is counted apart from wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from judge.read import Reading, unanswered
from judge.types import Case, Choice, Exchange, Item, JudgingKind, Judgment, Request

_LINE = re.compile(r"(?:final answer|answer|最终答案|答案)\s*(?:is)?\s*[:：]\s*(.+)", re.IGNORECASE)
# Groups of three, or no separators at all; a sign; decimals or a fraction; money before, a unit sign after.
_NUMBER = re.compile(
    r"[$€£¥]?\s*([+\-−]?)\s*[$€£¥]?((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)(?:\s*/\s*([0-9]+))?\s*(?:%|°)?"
)


@dataclass(frozen=True, slots=True)
class ExactJudge:
    """Right (1) or wrong (0) by comparison with the item's gold answers."""

    judging: str
    name: str = "exact"
    kind: JudgingKind = "exact"

    @property
    def questions_per_case(self) -> int:
        return 0

    def questions(self, case: Case, judgments: Sequence[Judgment]) -> list[Request]:
        """Asks nothing."""
        return []

    def read(self, case: Case, exchange: Exchange) -> Judgment:
        """Compares the answer's last line with the gold answers."""
        item = case.item
        reason = unanswered(exchange.response)
        reading = Reading(None, reason) if reason else extract(exchange.response.text, item)
        score = None
        if reading.value is not None:
            score = 1.0 if is_right(reading.value, item) else 0.0
        return Judgment(
            judging=self.judging,
            kind="exact",
            judge=self.name,
            dataset=item.dataset,
            item=item.id,
            category=item.category,
            models=case.models,
            choice=reading.value,
            score=score,
            unreadable=reading.unreadable,
            key=exchange.request.key,
            sample=exchange.request.sample,
        )


def extract(text: str, item: Item) -> Reading:
    """The final answer in its plain form: a number, a choice's label, or a text; or why there is none."""
    found = []
    for raw in re.split(r"[\r\n]+", text):
        line = raw.strip().strip("*_`# ")
        match = _LINE.fullmatch(line)
        if match:
            found.append(match.group(1).strip().strip("*_`").strip())
    if not found:
        return Reading(None, "no_answer_line")
    readings = [_plain(answer, item) for answer in found]
    if len({r.value for r in readings}) > 1:
        return Reading(None, "two_answers")
    return readings[-1]


def _plain(answer: str, item: Item) -> Reading:
    if item.match == "number":
        number = read_number(answer)
        return Reading(None, "not_a_number") if number is None else Reading(str(number))
    if item.match == "choice":
        return read_choice(answer, item.choices)
    return Reading(normalise(answer))


def read_number(text: str) -> Fraction | None:
    """An ASCII number, exactly: "1,250", "$18.50", "-3", "3/4", "12 %". None for anything else ("about 12", "1.250,00")."""
    match = _NUMBER.fullmatch(text.strip().rstrip(".。").strip())
    if match is None:
        return None
    sign, digits, below = match.groups()
    value = Fraction(digits.replace(",", ""))
    if below is not None:
        if int(below) == 0:
            return None
        value /= int(below)
    return -value if sign in ("-", "−") else value


def read_choice(text: str, choices: Sequence[Choice]) -> Reading:
    """A label alone, or a label with its own choice's text: "B", "(B)", "B. Paris". Another choice's text beside a label is
    a contradiction, and unreadable."""
    match = re.fullmatch(r"[(（\[]?([A-Za-z])[)）\]]?(?:[.。:：,，、)）\s]\s*(.*))?", text.strip(), re.DOTALL)
    label = match.group(1).upper() if match else None
    chosen = next((choice for choice in choices if choice.label == label), None)
    if match is None or chosen is None:
        whole = [c.label for c in choices if normalise(c.text) == normalise(text)]
        return Reading(whole[0]) if len(whole) == 1 else Reading(None, "not_a_label")
    rest = normalise(match.group(2) or "")
    if rest and rest != normalise(chosen.text):
        return Reading(None, "label_and_text_disagree")
    return Reading(chosen.label)


def normalise(text: str) -> str:
    """Text for comparison: NFKC, case folded, spaces joined, and outer punctuation and quotes dropped."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", folded).strip(" \t.。,，;；!！\"'“”‘’`*")


def is_right(value: str, item: Item) -> bool:
    """Compares an extracted answer with the gold answers: numbers as numbers, labels as labels, text normalised."""
    if item.match == "number":
        return any(read_number(gold) == Fraction(value) for gold in item.gold)
    if item.match == "choice":
        return value in item.gold
    return any(normalise(gold) == value for gold in item.gold)
