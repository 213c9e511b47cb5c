from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from arena.cli.options import WORK_DIR, opened


@click.command("rate")
@click.argument("run", default="latest")
@click.option("--category", help="Only battles of this category.")
@click.option("--by-category", is_flag=True, help="A table for each category too.")
@click.option("--judge", help="Only judgments of this judge.")
@click.option("--anchor", metavar="MODEL", help="Fix this model's rating instead of the mean.")
@click.option("--anchor-rating", type=float, default=1000.0, show_default=True, help="The rating it is fixed at.")
@click.option("--rounds", type=click.IntRange(min=1), default=1000, show_default=True, help="Resamples of the prompts.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the resamples.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@WORK_DIR
def command(
    run: str,
    category: str | None,
    by_category: bool,
    judge: str | None,
    anchor: str | None,
    anchor_rating: float,
    rounds: int,
    seed: int,
    form: str,
    work_dir: Path,
) -> None:
    """Rate the models of RUN (default: the latest) again from its stored judgments. Nothing stored is changed."""
    from arena.nearest import nearest
    from arena.output import gather

    with opened(work_dir) as store:
        found = store.run(run)
        evidence = gather(store, found)
        judges = {j.judge for j in evidence.judgments if j.kind == "pairwise"}
        for option, name, known in (
            ("--category", category, set(evidence.categories)),
            ("--judge", judge, judges),
            ("--anchor", anchor, set(evidence.models)),
        ):
            if name is not None and name not in known:
                raise click.UsageError(f"{option}: run {found.run} has no {name!r}{nearest(name, known)}")
        spec = evidence.rating.model_copy(update={"anchor": anchor, "anchor_rating": anchor_rating, "rounds": rounds})
        evidence = replace(evidence, rating=spec, seed=seed)
        if judge is not None:
            evidence = replace(
                evidence,
                judgments=tuple(j for j in evidence.judgments if j.judge == judge),
                left_out=tuple(c for c in evidence.left_out if c.judge == judge),
            )
        parts = [(category or "", evidence.only(category=category))]
        if by_category:
            parts += [(name, evidence.only(category=name)) for name in evidence.categories]
        tables = [(name, rows) for name, part in parts if (rows := _rows(part)) is not None]
        if not tables:
            raise click.ClickException(f"run {found.run} has no readable pairwise judgments to rate")
        _show(tables, found.run, form)


def _rows(evidence: Any) -> tuple[list[str], list[list[str]], list[dict[str, Any]], tuple[str, ...]] | None:
    from arena.cli.tables import leaderboard
    from arena.results import pair_rates, rate

    rated, rates = rate(evidence), pair_rates(evidence)
    if rated is None or rates is None:
        return None
    headers, rows = leaderboard(evidence, rated, rates)
    return headers, rows, _records(evidence, rated, rates), rated.warnings


def _records(evidence: Any, rated: Any, rates: Any) -> list[dict[str, Any]]:
    from arena.results import known, rank_range, win_rate

    records = []
    for index, model in enumerate(rated.models):
        share = win_rate(rates, evidence, model)
        low, high = rank_range(rated, index)
        records.append(
            {
                "model": model,
                "rating": float(rated.ratings[index]) if share.n_scored else None,
                "rating_q025": known(float(rated.low[index])),
                "rating_q975": known(float(rated.high[index])),
                "ranking": int(rated.rank[index]),
                "rank_low": low,
                "rank_high": high,
                "ranking_ub": known(float(rated.ranking_ub[index])),
                "win_rate": share.value,
                "win_rate_low": share.low,
                "win_rate_high": share.high,
                "n": share.n_scored,
                "n_asked": share.n_asked,
            }
        )
    return sorted(records, key=lambda record: (record["ranking"], record["model"]))


def _show(tables: list[tuple[str, Any]], run: str, form: str) -> None:
    from arena.cli.tables import echo_table

    if form == "json":
        found = [
            {"category": name or None, "leaderboard": records, "warnings": list(warnings)}
            for name, (_, _, records, warnings) in tables
        ]
        value = {"run": run, **found[0]}
        if len(found) > 1:
            value["categories"] = found[1:]
        click.echo(json.dumps(value, indent=1, allow_nan=False))
        return
    if form == "csv":
        from reports.table import to_csv

        rows = [{"category": name, **record} for name, (_, _, records, _) in tables for record in records]
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        click.echo(to_csv(list(rows[0]), cells), nl=False)
        return
    for number, (name, (headers, rows, _, warnings)) in enumerate(tables):
        click.echo(("\n" if number else "") + (f"{name}:" if name else f"run {run}:"))
        echo_table(headers, rows)
        for warning in warnings:
            click.echo(f"note: {warning}")
