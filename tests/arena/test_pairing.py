"""Who meets whom: everybody who should, each pair once, nobody themselves."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.pairing import pairs

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def test_all_pairs_in_the_order_of_the_models() -> None:
    assert pairs(["c", "a", "b"], "allpair") == [("c", "a"), ("c", "b"), ("a", "b")]


@pytest.mark.parametrize("models", [[], ["a"]])
def test_one_model_meets_nobody(models: list[str]) -> None:
    assert pairs(models, "allpair") == []
    assert pairs(models, "m2n", models) == []


@given(NAMES)
def test_every_two_models_meet_once(models: list[str]) -> None:
    found = pairs(models, "allpair")
    assert len(found) == len({frozenset(pair) for pair in found}) == comb(len(models), 2)
    assert pairs(models, "allpair", ["a"]) == found


@given(NAMES, st.data())
def test_every_model_meets_every_base_model_once(models: list[str], data: st.DataObject) -> None:
    bases = data.draw(st.lists(st.sampled_from(models), unique=True)) if models else []
    met = [frozenset(pair) for pair in pairs(models, "m2n", bases)]
    expected = {frozenset(pair) for pair in combinations(models, 2) if set(pair) & set(bases)}
    assert len(met) == len(set(met))
    assert set(met) == expected


def test_one_base_model_stands_second() -> None:
    assert pairs(["a", "base", "b"], "m2n", ["base"]) == [("a", "base"), ("b", "base")]


def test_two_base_models_meet_each_other_once() -> None:
    assert pairs(["x", "y", "z"], "m2n", ["x", "y"]) == [("y", "x"), ("z", "x"), ("z", "y")]


@given(NAMES)
def test_all_as_base_models_are_all_pairs(models: list[str]) -> None:
    found = {frozenset(pair) for pair in pairs(models, "m2n", models)}
    assert found == {frozenset(pair) for pair in pairs(models, "allpair")}
