"""Who meets whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal


def pairs(
    models: Sequence[str], mode: Literal["allpair", "m2n"], base_models: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """The pairs of a run, each once: every two models, or every model against each base model (itself excepted)."""
    if mode == "allpair":
        return list(combinations(models, 2))
    found: list[tuple[str, str]] = []
    for base in base_models:
        for model in models:
            if model != base and (base, model) not in found:
                found.append((model, base))
    return found
