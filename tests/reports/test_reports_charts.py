from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.charts import Scale, dot_plot, scale, shade, strip
from reports.page import Estimate, LeaderRow

FINITE = st.floats(-1e6, 1e6)


def leader(model: str, rating: Estimate) -> LeaderRow:
    return LeaderRow(model, 1, 1, 1, rating, Estimate(None))


@given(FINITE, FINITE)
def test_ticks_are_a_few_round_numbers_within_the_scale(one: float, other: float) -> None:
    on = scale(min(one, other), max(one, other))
    tolerance = 1e-6 * max(1.0, abs(on.low), abs(on.high))
    assert all(on.low - tolerance <= tick <= on.high + tolerance for tick in on.ticks)
    if on.high - on.low > 1e-3:
        assert 2 <= len(on.ticks) <= 7
        steps = {round(b - a, 6) for a, b in zip(on.ticks, on.ticks[1:], strict=False)}
        assert len(steps) == 1


def test_ticks_of_a_usual_leaderboard() -> None:
    assert scale(880, 1110).ticks == (900, 950, 1000, 1050, 1100)
    assert scale(1000, 1000).ticks == (999, 999.5, 1000, 1000.5, 1001)
    assert len(scale(0.0, 5e-324).ticks) == len(scale(1e6, 1e6 + 1e-9).ticks) == 5
    with pytest.raises(ValueError, match="upwards"):
        scale(2, 1)


def test_places_lie_within_the_drawing() -> None:
    on = Scale(0, 10, ())
    assert [on.at(v) for v in (-5, 0, 5, 10, math.inf, -math.inf)] == [
        "3.00%",
        "3.00%",
        "50.00%",
        "97.00%",
        "97.00%",
        "3.00%",
    ]


def test_a_strip_draws_what_is_known() -> None:
    on = Scale(0, 1, ())
    full = strip(Estimate(0.5, 0.25, 0.75, 9, 10, 0.4, 0.6), on)
    assert (full.dot, full.interval, full.band) == ("50.00%", ("26.50%", "73.50%"), ("40.60%", "59.40%"))
    assert strip(Estimate(0.5, None, 0.75, 10, 10, 0.4, 0.6), on).interval is None
    assert strip(Estimate(0.5, n_scored=10, n_asked=10, worst=0.4, best=0.6), on).band is None
    for nothing in (None, Estimate(None), Estimate(math.nan), Estimate(math.inf)):
        assert strip(nothing, on).dot is None


def test_the_plot_covers_every_interval_and_leaves_infinite_ends_at_the_edge() -> None:
    rows = [
        leader("a", Estimate(1000, 900, 1100)),
        leader("b", Estimate(800, -math.inf, 850)),
        leader("c", Estimate(None)),
    ]
    plot = dot_plot(rows)
    assert plot is not None
    assert plot.scale.low < 800
    assert plot.scale.high > 1100
    assert plot.rows[1][1].interval == ("3.00%", plot.scale.at(850))
    assert plot.rows[2][1].dot is None
    assert dot_plot(rows[2:]) is None
    assert dot_plot([]) is None


def test_shades_are_symmetric_around_one_half() -> None:
    assert [shade(v) for v in (0.0, 0.25, 0.5, 0.75, 1.0, None, math.nan)] == [-5, -2, 0, 2, 5, None, None]
    assert all(shade(0.5 + d / 100) == -(shade(0.5 - d / 100) or 0) for d in range(51))
