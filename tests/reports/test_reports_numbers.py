from __future__ import annotations

import math

import pytest

from reports import numbers, words
from reports.page import Estimate, Unit


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.6424, "share", "64.2%"),
        (1.0, "share", "100.0%"),
        (0.0, "share", "0.0%"),
        (-0.0004, "share", "0.0%"),
        (-0.02, "share", "−2.0%"),
        (8.125, "grade", "8.12"),
        (1071.4, "rating", "1071"),
        (None, "share", "–"),
        (math.nan, "grade", "–"),
        (math.inf, "rating", "∞"),
        (-math.inf, "rating", "−∞"),
    ],
)
def test_number(value: float | None, unit: Unit, shown: str) -> None:
    assert numbers.number(value, unit) == shown


def test_intervals_name_the_unit_once() -> None:
    assert numbers.interval(0.58, 0.667, "share") == "58.0–66.7%"
    assert numbers.interval(-0.1, 0.2, "share") == "−10.0% to 20.0%"
    assert numbers.interval(None, 0.2, "share") == "– to 20.0%"
    assert numbers.interval(-math.inf, 1000, "rating") == "−∞ to 1000"
    assert numbers.ends(0, 1, "share") == "0 to 100%"
    assert numbers.ends(1, 10, "grade") == "1 to 10"


def test_bounds_are_told_only_where_something_was_left_out() -> None:
    assert numbers.bounded(Estimate(0.5, n_scored=9, n_asked=10, worst=0.4, best=0.6))
    assert not numbers.bounded(Estimate(0.5, n_scored=10, n_asked=10, worst=0.4, best=0.6))
    assert not numbers.bounded(Estimate(0.5, n_scored=9, n_asked=10))


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert [numbers.count(None), numbers.money(None), numbers.seconds(None), numbers.share(0, 0)] == ["–"] * 4
    assert [numbers.count(0), numbers.money(0.0), numbers.seconds(0.0), numbers.share(0, 3)] == [
        "0",
        "0.00",
        "0.00 s",
        "0.0%",
    ]


def test_amounts_keep_what_matters() -> None:
    assert [numbers.money(v) for v in (0.00031, 9.2174, 12345.6)] == ["0.0003", "9.22", "12,345.60"]
    assert [numbers.seconds(v) for v in (0.842, 11.8, 1234)] == ["0.84 s", "12 s", "1,234 s"]
    assert numbers.count(2904113) == "2,904,113"
    assert [numbers.grade(v) for v in (8.0, 8.5, 7.333333)] == ["8", "8.5", "7.33"]


def test_reasons_are_told_in_words_and_unknown_codes_as_they_are() -> None:
    assert words.reason("no_verdict") == "the judge named no verdict"
    assert words.reason("error:timeout") == "no reply came back (timeout)"
    assert words.reason("something new") == words.stage("something new") == "something new"


def test_every_reason_the_judges_may_give_has_words() -> None:
    types = pytest.importorskip("judge.types")
    assert set(types.UNREADABLE) | set(types.ANSWERED) <= set(words.REASONS)
    assert {f"answer_{status}" for status in types.ANSWERED - types.JUDGEABLE} <= set(words.REASONS)
