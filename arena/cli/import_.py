from __future__ import annotations

from pathlib import Path

import click

from arena.cli.options import WORK_DIR, told


@click.command("import")
@click.argument("source", type=click.Choice(["alpaca_eval"]))
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@WORK_DIR
def command(source: str, paths: tuple[Path, ...], work_dir: Path) -> None:
    """Bring in judgments made elsewhere, as a run that can be shown, rated and reported like any other.

    SOURCE alpaca_eval: AlpacaEval's annotations.json (or .json.gz), one file a model, all against one baseline. A file
    called NAME.annotations.json[.gz] names the model; else its generator_2 does. The last line printed is the report.
    """
    from arena.cli.tables import print_summary
    from arena.imports.alpaca_eval import import_run
    from arena.output import write_results
    from arena.run import new_folder
    from arena.store import FILE_NAME, Store

    with told():
        from arena.run import versions

        provenance = {"versions": versions(), "files": [path.name for path in paths], "source": source}
        with Store(work_dir / FILE_NAME) as store:
            name = new_folder(work_dir)
            try:
                run = import_run(store, name, paths, {"import": source}, provenance)
            except BaseException:
                (work_dir / name).rmdir()
                raise
            report = write_results(store, run, work_dir / name)
    print_summary(work_dir, name)
    click.echo(str(report))
