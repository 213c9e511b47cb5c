from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from arena.ratings import Battles
from arena.ratings.newton import maximise
from arena.ratings.pairs import count_pairs, count_prompt_pairs
from tests.arena.ratings.reference import designs, rows_of


def by_hand(battles: Battles) -> dict[tuple[int, int], tuple[float, float]]:
    wins: dict[tuple[int, int], tuple[float, float]] = {}
    for a, b, y, w, _ in rows_of(battles):
        if w > 0:
            i, j, won, lost = (a, b, w * y, w * (1 - y)) if a < b else (b, a, w * (1 - y), w * y)
            before = wins.get((i, j), (0.0, 0.0))
            wins[i, j] = (before[0] + won, before[1] + lost)
    return wins


@settings(max_examples=100, deadline=None)
@given(designs())
def test_wins_add_up_by_pair(battles: Battles) -> None:
    expected = by_hand(battles)
    for pairs in (count_pairs(battles), count_prompt_pairs(battles).pairs):
        found = zip(pairs.i, pairs.j, pairs.wins_i, pairs.wins_j, strict=True)
        assert {(i, j): pytest.approx((won, lost)) for i, j, won, lost in found} == expected


def test_wins_add_up_for_thousands_of_models() -> None:
    """Too many possible pairs to count them all in one array."""
    rng = np.random.default_rng(0)
    k, n = 2500, 4000
    a = rng.integers(0, k, n)
    b = (a + rng.integers(1, 3, n)) % k
    names = [f"m{number:04}" for number in range(k)]
    battles = Battles.of([names[x] for x in a], [names[x] for x in b], rng.random(n), cluster=range(n), models=names)
    pairs = count_pairs(battles)
    found = zip(pairs.i, pairs.j, pairs.wins_i, pairs.wins_j, strict=True)
    assert {(i, j): pytest.approx((won, lost)) for i, j, won, lost in found} == by_hand(battles)


def test_newton_comes_back_from_a_far_start() -> None:
    """A full Newton step from here would jump by thousands and never return; a resample may well start like that."""
    one = np.array([0], dtype=np.intp)
    found = maximise(
        one,
        one + 1,
        np.array([[5.0], [30.0]]),
        np.array([[5.0], [1.0]]),
        np.array([6.0, -6.0]),
        tolerance=1e-8,
        max_iterations=100,
    )
    assert (found.step <= 1e-8).all()
    np.testing.assert_allclose(found.beta[:, 0] - found.beta[:, 1], [0.0, np.log(30)], atol=1e-9)
