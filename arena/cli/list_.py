from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.cli.options import WORK_DIR

if TYPE_CHECKING:
    from arena.records import Run


@click.command("list")
@click.argument("kind", type=click.Choice(["models", "datasets", "prompts", "suites", "runs"]))
@click.argument("words", nargs=-1, metavar="[WORD...]")
@WORK_DIR
def command(kind: str, words: tuple[str, ...], work_dir: Path) -> None:
    """Show what there is of a kind, one a line; only lines that hold every WORD. `runs` are those of the work dir."""
    if kind == "runs":
        from arena.cli.options import opened

        with opened(work_dir) as store:
            rows = [(run.run, f"{store.status(run)}: {_what(run)}") for run in store.runs()]
        rows = [row for row in rows if all(word.lower() in " ".join(row).lower() for word in words)]
    else:
        from arena.catalog import matching

        rows = [(entry.name, entry.description) for entry in matching(kind, words)]  # type: ignore[arg-type]
    from reports.text import visible_name

    if not rows:
        asked = f" that match {' '.join(words)!r}" if words else ""
        click.echo(f"no {kind}{asked}", err=True)
        raise SystemExit(1)
    width = max(len(name) for name, _ in rows)
    for name, description in rows:
        description = visible_name(description)
        click.echo(f"{name:<{width}}  {description}".rstrip())


def _what(run: Run) -> str:
    """A run's title, and who took part in it."""
    models = ", ".join(model["abbr"] for model in run.config.get("models", []))
    return f"{run.title} ({models})" if run.title else models
