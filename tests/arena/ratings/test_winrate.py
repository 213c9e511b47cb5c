from __future__ import annotations

import csv
from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.ratings import Battles, mean_interval, wilson, win_rates
from tests.arena.ratings.reference import designs, rows_of

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "llmfao"


def test_wilson_against_published_values() -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I: score method without continuity correction."""
    for k, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(8.5, 10)[0] > wilson(8, 10)[0]
    assert wilson(8, 10, 0.5)[0] > wilson(8, 10, 0.99)[0]
    wrong: list[tuple[float, float]] = [(-1, 3), (4, 3), (float("nan"), 3), (1, float("inf"))]
    for wins, trials in wrong:
        with pytest.raises(ValueError, match="0 <= k <= n"):
            wilson(wins, trials)


def test_a_mean_of_independent_values_is_the_classical_one() -> None:
    values = [6.0, 7.0, 9.0, 4.0, 8.0]
    found = mean_interval(values, ["a", "b", "c", "d", "e"])
    assert found.mean == pytest.approx(6.8)
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / sqrt(5))
    assert found.high - found.mean == pytest.approx(2.7764451 * found.standard_error)  # Student's t, 4 degrees
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert (found.n, found.clusters) == (5, 5)


def test_repeating_values_within_their_prompts_adds_no_certainty() -> None:
    values, prompts = [6.0, 7.0, 9.0, 4.0, 8.0], [3, 1, 4, 15, 9]
    once, thrice = mean_interval(values, prompts), mean_interval(values * 3, prompts * 3)
    assert thrice.standard_error == pytest.approx(once.standard_error)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert (thrice.n, thrice.clusters) == (15, 5)
    apart = mean_interval(values * 3, range(15))
    assert apart.high - apart.low < 0.6 * (thrice.high - thrice.low)


def test_one_prompt_gives_a_mean_and_no_interval() -> None:
    found = mean_interval([1.0, 2.0], ["p", "p"])
    assert found.mean == 1.5
    assert isnan(found.standard_error)
    assert isnan(found.low)
    assert isnan(found.high)


def test_means_refuse_what_is_no_value() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([], [])
    with pytest.raises(ValueError, match="row 1: nan is not finite"):
        mean_interval([1.0, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="row 1: values is None"):
        mean_interval([1.0, None], ["a", "b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="2 values have 1 clusters"):
        mean_interval([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match=r"0\.95 for 95 %"):
        mean_interval([1.0, 2.0], ["a", "b"], 95)


@settings(max_examples=120, deadline=None)
@given(designs())
def test_rates_counts_and_means_by_hand(battles: Battles) -> None:
    found = win_rates(battles)
    rows = [row for row in rows_of(battles) if row[3] > 0]
    rows += [(b, a, 1 - y, w, c) for a, b, y, w, c in rows]
    for i in range(len(battles.models)):
        opponents = []
        for j in range(len(battles.models)):
            own = [row for row in rows if row[:2] == (i, j)]
            assert found.battles[i, j] == len(own)
            assert found.prompts[i, j] == len({row[4] for row in own})
            if not own:
                assert isnan(found.rate[i, j])
                assert isnan(found.low[i, j])
                continue
            weight = sum(row[3] for row in own)
            opponents.append(sum(row[2] * row[3] for row in own) / weight)
            assert found.weight[i, j] == pytest.approx(weight)
            assert found.rate[i, j] == pytest.approx(opponents[-1], abs=1e-12)
            assert found.rate[i, j] + found.rate[j, i] == pytest.approx(1.0)
            assert isnan(found.low[i, j]) == (found.prompts[i, j] < 2)
            if found.prompts[i, j] >= 2:
                assert 0 <= found.low[i, j] <= found.rate[i, j] <= found.high[i, j] <= 1
                assert found.low[i, j] == pytest.approx(1 - found.high[j, i])
                assert found.high[i, j] - found.low[i, j] > 0
        assert found.mean[i] == pytest.approx(np.mean(opponents) if opponents else np.nan, nan_ok=True)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published votes of llmfao are not beside the checkout")
@pytest.mark.parametrize("votes", ["food", "llmfao"])
def test_published_average_win_rates_are_reproduced(votes: str) -> None:
    with (PUBLISHED / f"{votes}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    share = {"left": 1.0, "right": 0.0, "tie": 0.5}
    battles = Battles.of(
        [row["left"] for row in rows],
        [row["right"] for row in rows],
        [share[row["winner"]] for row in rows],
        cluster=[row.get("prompt", str(number)) for number, row in enumerate(rows)],
    )
    with (PUBLISHED / f"{votes}-golden.csv").open(encoding="utf-8") as file:
        golden = {r["item"]: float(r["score"]) for r in csv.DictReader(file) if r["algorithm"] == "average_win_rate"}
    np.testing.assert_allclose(win_rates(battles).mean, [golden[name] for name in battles.models], rtol=1e-12)


def test_independent_battles_give_wilsons_interval() -> None:
    """With a prompt each, up to C / (C - 1) in the variance and t in place of the normal quantile."""
    n = 4000
    y = np.arange(n) < 0.9 * n
    found = win_rates(Battles.of(["a"] * n, ["b"] * n, y, cluster=range(n)))
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx(wilson(3600, n), abs=1e-5)
    assert (found.mean_low[0], found.mean_high[0]) == pytest.approx((found.low[0, 1], found.high[0, 1]))


def test_few_prompts_widen_the_interval_as_a_t_interval() -> None:
    """By hand: the standard error of the mean, the battles it is worth, Wilson's formula with t on 7 degrees."""
    y = np.array([1.0, 1.0, 0.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    found = win_rates(Battles.of(["a"] * 8, ["b"] * 8, y, cluster=range(8)))
    p, t = y.mean(), 2.3646243
    n = p * (1 - p) / (y.var(ddof=1) / 8)
    centre = (p + t**2 / (2 * n)) / (1 + t**2 / n)
    reach = t / (1 + t**2 / n) * sqrt(p * (1 - p) / n + t**2 / (4 * n**2))
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((centre - reach, centre + reach))


def test_both_orders_of_a_prompt_add_no_certainty() -> None:
    y = [1.0, 0.0, 1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0]
    once = win_rates(Battles.of(["a"] * 12, ["b"] * 12, y, cluster=range(12)))
    both = win_rates(
        Battles.of(
            ["a", "b"] * 12, ["b", "a"] * 12, [s for x in y for s in (x, 1 - x)], cluster=np.repeat(range(12), 2)
        )
    )
    np.testing.assert_allclose(both.low, once.low)
    np.testing.assert_allclose(both.mean_high, once.mean_high)
    assert both.battles[0, 1] == 24


def test_a_clean_sweep_keeps_a_width() -> None:
    """No variance is seen; each prompt counts as one battle, however many judgments it holds."""
    found = win_rates(Battles.of(["a"] * 60, ["b"] * 60, [1.0] * 60, cluster=np.repeat(range(20), 3)))
    assert found.rate[0, 1] == 1.0
    assert found.high[0, 1] == 1.0
    assert 0.8 < found.low[0, 1] < 0.85
    assert found.high[1, 0] == pytest.approx(1 - found.low[0, 1])


def test_the_interval_of_a_mean_knows_that_opponents_share_prompts() -> None:
    """Against two opponents with the same results on each prompt, a second opponent adds nothing; independent ones do."""
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.6).astype(float)
    a_names, b_names = ["m"] * 400, ["a"] * 200 + ["z"] * 200
    shared = win_rates(Battles.of(a_names, b_names, [*y, *y], cluster=[*range(200), *range(200)]))
    apart = win_rates(Battles.of(a_names, b_names, [*y, *y], cluster=range(400)))
    single = win_rates(Battles.of(["m"] * 200, ["z"] * 200, y, cluster=range(200)))

    def width(index: int, rates: object) -> float:
        return float(rates.mean_high[index] - rates.mean_low[index])  # type: ignore[attr-defined]

    assert width(1, shared) == pytest.approx(width(0, single))
    assert width(1, apart) == pytest.approx(width(0, single) / sqrt(2), rel=0.02)


def test_coverage_of_a_win_rate_over_few_prompts() -> None:
    """20 prompts of 6 judgments each that share a chance: intervals that forget the prompts miss much too often."""
    rng = np.random.default_rng(3)
    hits, naive_hits, trials = 0, 0, 400
    for _ in range(trials):
        chance = rng.beta(1.4, 0.6, 20)  # mean 0.7
        y = (rng.random((20, 6)) < chance[:, None]).astype(float).ravel()
        found = win_rates(Battles.of(["a"] * 120, ["b"] * 120, y, cluster=np.repeat(range(20), 6)))
        hits += bool(found.low[0, 1] <= 0.7 <= found.high[0, 1])
        low, high = wilson(y.sum(), 120)
        naive_hits += low <= 0.7 <= high
    assert hits / trials > 0.92
    assert naive_hits / trials < 0.8


def test_left_out_battles_bound_what_could_have_been() -> None:
    battles = Battles.of(
        ["a"] * 8 + ["a"] * 4,
        ["b"] * 8 + ["c"] * 4,
        [1.0] * 6 + [0.0] * 2 + [0.5] * 4,
        cluster=range(12),
        models="abcd",
    )
    found = win_rates(battles, left_out={("a", "b"): 1, ("b", "a"): 1, ("c", "d"): 3})
    assert found.left_out[0, 1] == found.left_out[1, 0] == 2
    assert (found.worst[0, 1], found.best[0, 1]) == pytest.approx((6 / 10, 8 / 10))
    assert (found.worst[1, 0], found.best[1, 0]) == pytest.approx((2 / 10, 4 / 10))
    assert (found.worst[0, 2], found.best[0, 2]) == pytest.approx((0.5, 0.5))
    assert (found.worst[3, 2], found.best[3, 2]) == (0.0, 1.0)
    assert (found.mean_worst[0], found.mean_best[0]) == pytest.approx((0.55, 0.65))
    assert isnan(found.mean[3])
    assert (found.mean_worst[3], found.mean_best[3]) == (0.0, 1.0)
    for wrong, said in (
        ({("a", "e"): 1}, "no model is called 'e'"),
        ({("a", "b"): -1}, "cannot"),
        ({("a", "a"): 1}, "cannot"),
    ):
        with pytest.raises(ValueError, match=said):
            win_rates(battles, left_out=wrong)


@settings(max_examples=60, deadline=None)
@given(designs(), st.data())
def test_the_truth_lies_between_worst_and_best(battles: Battles, data: st.DataObject) -> None:
    """Leave some battles out, whatever they were: the rate of all of them lies between the bounds."""
    battles = Battles.of(
        [battles.models[x] for x in battles.a],
        [battles.models[x] for x in battles.b],
        battles.preference,
        cluster=battles.cluster,
        models=battles.models,
    )
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(battles), max_size=len(battles))))
    if gone.all():
        gone[0] = False
    counts: dict[tuple[str, str], float] = {}
    for row in np.flatnonzero(gone):
        pair = battles.models[battles.a[row]], battles.models[battles.b[row]]
        counts[pair] = counts.get(pair, 0) + 1
    whole, part = win_rates(battles), win_rates(battles.where(~gone), left_out=counts)
    asked = np.isfinite(whole.rate)
    assert (np.isfinite(part.worst) == asked).all()
    assert (part.worst[asked] <= whole.rate[asked] + 1e-12).all()
    assert (part.best[asked] >= whole.rate[asked] - 1e-12).all()
    met = np.isfinite(whole.mean)
    assert (part.mean_worst[met] <= whole.mean[met] + 1e-12).all()
    assert (part.mean_best[met] >= whole.mean[met] - 1e-12).all()
