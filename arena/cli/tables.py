"""Tables on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from arena.ratings.intervals import RatingIntervals
from arena.ratings.winrate import WinRates
from arena.results import Evidence, accuracy, grade, rank_range, win_rate
from reports.page import Estimate


def print_summary(work_dir: Path, run: str) -> None:
    """The leaderboard and the score table of a stored run."""
    from arena.output import gather, summary_table
    from arena.results import pair_rates, rate, score_rows
    from arena.store import FILE_NAME, Store

    with Store(work_dir / FILE_NAME, create=False) as store:
        found = store.run(run)
        evidence = gather(store, found)
    rated, rates = rate(evidence), pair_rates(evidence)
    if rated is not None and rates is not None:
        headers, rows = leaderboard(evidence, rated, rates)
        click.echo(f"{found.title or 'Leaderboard'}: run {found.run}\n")
        echo_table(headers, rows)
        for warning in rated.warnings:
            click.echo(f"note: {warning}")
    scores = score_rows(evidence)
    if scores:
        click.echo()
        echo_table(*summary_table(evidence, scores))
    click.echo()


def leaderboard(evidence: Evidence, rated: RatingIntervals, rates: WinRates) -> tuple[list[str], list[list[str]]]:
    """Headers and rows, best model first; every number with what it rests on."""
    percent = f"{evidence.rating.confidence:.0%}"
    graded = any(grade(evidence, model) is not None for model in evidence.models)
    exact = any(accuracy(evidence, model) is not None for model in evidence.models)
    headers = ["rank", "model", "rating", f"{percent} interval", "ranks", "win rate", "battles"]
    headers += (["grade"] if graded else []) + (["exact"] if exact else [])
    rows = []
    for index in sorted(range(len(rated.models)), key=lambda i: (rated.rank[i], rated.models[i])):
        model = rated.models[index]
        share = win_rate(rates, evidence, model)
        low, high = rank_range(rated, index)
        row = [
            str(int(rated.rank[index])),
            model,
            f"{rated.ratings[index]:.0f}" if share.n_scored else "-",
            f"{rated.low[index]:.0f} .. {rated.high[index]:.0f}" if rated.low[index] == rated.low[index] else "-",
            str(low) if low == high else f"{low}-{high}",
            "-" if share.value is None else f"{share.value:.1%}",
            _counts(share),
        ]
        row += [_mean(grade(evidence, model))] if graded else []
        row += [_percent(accuracy(evidence, model))] if exact else []
        rows.append(row)
    return headers, rows


def _counts(estimate: Estimate) -> str:
    return (
        str(estimate.n_scored) if estimate.n_scored == estimate.n_asked else f"{estimate.n_scored}/{estimate.n_asked}"
    )


def _mean(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.2f} ({_counts(estimate)})"


def _percent(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.1%} ({_counts(estimate)})"


def echo_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from reports.table import to_txt

    click.echo(to_txt(list(headers), [list(row) for row in rows]).rstrip("\n"))
