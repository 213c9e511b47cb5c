"""The geometry of the charts: where things lie, in percent of the width, so that one drawing fits a phone and a page.

The drawing itself is SVG and table cells in `templates/charts.html.j2`; the colours are in `templates/report.css`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.page import Categories, Estimate, LeaderRow

_INSET = 3.0  # percent left free on both sides, so that no dot is cut in half


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` laid over the width of a chart; `ticks` lie between them."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """The place of a value, as SVG writes it; values beyond the ends lie on the ends."""
        fraction = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{_INSET + (100 - 2 * _INSET) * fraction:.2f}%"


@dataclass(frozen=True, slots=True)
class Strip:
    """One estimate on a scale: a dot, its interval, and the band of what it could have been. None is not drawn."""

    dot: str | None
    interval: tuple[str, str] | None
    band: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class DotPlot:
    """A strip a row of the leaderboard, over one scale."""

    scale: Scale
    rows: tuple[tuple[LeaderRow, Strip], ...]


def scale(low: float, high: float, *, about: int = 5) -> Scale:
    """A scale that covers low..high (finite), with some `about` ticks at round numbers. ValueError where low > high."""
    if low > high:
        raise ValueError(f"a scale must go upwards, not from {low} to {high}")
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # one value, give or take a rounding error
        low, high = low - 1, high + 1
    step = _round_step((high - low) / about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, tuple(round(i * step, 10) for i in range(first, last + 1)))


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def strip(estimate: Estimate | None, on: Scale) -> Strip:
    """Where an estimate lies. An interval needs both ends; an infinite end lies on the end of the scale."""
    if estimate is None or not _drawable(estimate.value):
        return Strip(None, None, None)
    assert estimate.value is not None
    left_out = estimate.n_scored < estimate.n_asked
    return Strip(
        on.at(estimate.value),
        _ends(estimate.low, estimate.high, on),
        _ends(estimate.worst, estimate.best, on) if left_out else None,
    )


def _ends(low: float | None, high: float | None, on: Scale) -> tuple[str, str] | None:
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return on.at(low), on.at(high)


def _drawable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def dot_plot(rows: Sequence[LeaderRow]) -> DotPlot | None:
    """The ratings of a leaderboard; None where no rating can be drawn."""
    known = [v for row in rows if _drawable(row.rating.value) for v in _finite(row.rating)]
    if not known:
        return None
    low, high = min(known), max(known)
    margin = (high - low) * 0.04
    on = scale(low - margin, high + margin)
    return DotPlot(on, tuple((row, strip(row.rating, on)) for row in rows))


def _finite(estimate: Estimate) -> Iterable[float]:
    ends = (estimate.value, estimate.low, estimate.high)
    bounds = (estimate.worst, estimate.best) if estimate.n_scored < estimate.n_asked else ()
    return [v for v in (*ends, *bounds) if v is not None and math.isfinite(v)]


def category_scale(table: Categories) -> Scale:
    """The scale all strips of a table of categories share: its ends and its middle are marked."""
    low, high = (table.low, table.high) if table.low < table.high else (table.low - 1, table.low + 1)
    return Scale(low, high, (low, (low + high) / 2, high))


def shade(value: float | None) -> int | None:
    """Which of eleven colours a share of 0..1 gets: -5 (all lost), 0 (even), 5 (all won)."""
    if value is None or not math.isfinite(value):
        return None
    steps = round((min(max(value, 0.0), 1.0) - 0.5) * 10, 9)  # 0.45 and 0.55 must not differ by a rounding error
    return round(steps)
