from __future__ import annotations

from pathlib import Path

import click

from arena.cli.options import WORK_DIR, opened


@click.command("show")
@click.argument("item")
@click.option("--run", default="latest", show_default=True, help="Which run.")
@click.option("--models", metavar="A,B", help="Only the answers and judgments of these models.")
@click.option("--questions/--no-questions", default=False, help="Also what the judges were asked, word for word.")
@WORK_DIR
def command(item: str, run: str, models: str | None, questions: bool, work_dir: Path) -> None:
    """Show ITEM (its id, or dataset/id) of a run: the question, every answer, every judge's reply and the verdicts."""
    from arena.show import describe

    with opened(work_dir) as store:
        only = tuple(name.strip() for name in models.split(",")) if models else ()
        try:
            text = describe(store, store.run(run), item, models=only, questions=questions)
        except LookupError as error:
            raise click.UsageError(str(error.args[0])) from None
    click.echo(text)
