"""From a judge's reply to a label or a grade, or to the reason why there is none.

The verdict is a tag alone on the last line that holds text. It is matched in full: a letter somewhere in the prose is no
verdict, and two different verdicts are none. Every pattern here takes time linear in the reply's length, whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from judge.prompt import Scale
from judge.types import Response


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` as it stood in the tag, or the `unreadable` reason (one of `judge.types.UNREADABLE`)."""

    value: str | None
    unreadable: str | None = None


def unanswered(response: Response) -> str | None:
    """Why a response can't be read at all, from its status; None where there is a complete text."""
    if response.status == "ok":
        return None
    return response.status if response.status in ("truncated", "cut", "filtered", "empty", "overflow") else "empty"


def read_tag(text: str, tag: str) -> Reading:
    """The content of `<tag>...</tag>` that makes up the last line.

    A reply with different contents, with half a tag, or with the tag in another spelling beside it (`<Verdict>`, `</ verdict>`)
    is unreadable: it may echo an answer that was written to be taken for a verdict.
    """
    found = re.findall(rf"<{tag}>([^<]*+)</{tag}>", text)
    if not found:
        return Reading(None, "no_verdict")
    # Both halves in every spelling: each must belong to one of the whole tags.
    halves = re.findall(rf"<\s*+/?\s*+{tag}\s*+/?>", text, re.IGNORECASE)
    if len(halves) != 2 * len(found) or len({content.strip().lower() for content in found}) > 1:
        return Reading(None, "two_verdicts")
    # str.splitlines() would also cut at U+2028 and form feeds, which judges put inside sentences.
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    if not re.fullmatch(rf"<{tag}>[^<]*+</{tag}>", lines[-1]):
        return Reading(None, "verdict_not_last")
    return Reading(found[-1].strip())


def read_label(response: Response, labels: Sequence[str]) -> Reading:
    """A pairwise verdict: one of `labels`, in any case of letters."""
    reason = unanswered(response)
    if reason:
        return Reading(None, reason)
    reading = read_tag(response.text, "verdict")
    if reading.value is None:
        return reading
    label = next((known for known in labels if known.lower() == reading.value.lower()), None)
    return Reading(label) if label is not None else Reading(None, "not_a_label")


def read_grade(response: Response, scale: Scale) -> Reading:
    """A grade: a whole number in ASCII digits on the scale ("8.5/10", "eight" and "٨" are refused, not half-read).

    `value` is the number in its plain form ("08" is "8").
    """
    reason = unanswered(response)
    if reason:
        return Reading(None, reason)
    reading = read_tag(response.text, "grade")
    if reading.value is None:
        return reading
    if not re.fullmatch(r"-?[0-9]{1,6}", reading.value) or not scale.low <= int(reading.value) <= scale.high:
        return Reading(None, "not_on_scale")
    return Reading(str(int(reading.value)))
