from __future__ import annotations

import sys
from pathlib import Path

import click

from arena.cli.options import WORK_DIR, opened


@click.command("batches")
@click.option(
    "--forget",
    metavar="BATCH",
    help="Give a batch up: nothing of it is taken any more, and what is asked for again is bought again.",
)
@WORK_DIR
def command(forget: str | None, work_dir: Path) -> None:
    """Show the batches that were handed in and still hold answers which no run has taken.

    A run that asks for the same things takes them: continue the one that handed them in with `arena run -r`.
    """
    from arena.cli.tables import echo_table

    with opened(work_dir) as store:
        if forget is not None:
            batch = store.batches.get(forget)
            if batch is None:
                click.echo(f"error: {store.path}: no batch {forget!r}; `arena batches` lists them", err=True)
                sys.exit(2)
            store.batches.forget(batch.name)
            click.echo(f"batch {batch.known_as} of {batch.model} is given up; it was not cancelled at {batch.place}")
            return
        rows = [
            [batch.known_as, batch.model, str(waiting), _since(batch.created_at), batch.place]
            for batch, waiting in store.batches.open()
        ]
    if rows:
        echo_table(["batch", "model", "answers to come", "handed in (UTC)", "at"], rows)
    else:
        click.echo("no batch holds anything that was not taken")


def _since(created_at: str) -> str:
    return created_at[:16].replace("T", " ")
