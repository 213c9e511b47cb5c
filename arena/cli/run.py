from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal

import click

from arena.cli.hf_options import hf_declaration, hf_options
from arena.cli.options import WORK_DIR, SeveralValues, told


@click.command("run", cls=SeveralValues)
@click.argument("config", required=False)
@click.option(
    "--models", multiple=True, metavar="NAME...", help="Candidates: catalogue names, files, or backend:model."
)
@click.option("--judges", multiple=True, metavar="NAME...", help="Judges, named as models are.")
@click.option(
    "--datasets", multiple=True, metavar="NAME...", help="Datasets: catalogue names, .jsonl files or folders."
)
@click.option("--base-url", metavar="URL", help="Server of the openai models that are given by name.")
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds their key.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where datasets that are not shipped lie."
)
@click.option("--num-samples", type=click.IntRange(min=1), help="How often each item is asked, in every dataset.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many items of each dataset.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything drawn.")
@WORK_DIR
@click.option(
    "-m",
    "--mode",
    type=click.Choice(["all", "infer", "eval", "viz"]),
    default="all",
    show_default=True,
    help="all; infer: only collect answers; eval: judge answers that are in the store; viz: only rate and report (with -r).",
)
@click.option(
    "-r",
    "--reuse",
    is_flag=False,
    flag_value="latest",
    default=None,
    metavar="[RUN|latest]",
    help="Continue a run in its own folder; without CONFIG with the config it was made with.",
)
@click.option(
    "--max-num-workers",
    type=click.IntRange(min=1),
    help="Most requests under way at once, per model; of a local model, most worker processes.",
)
@click.option("--max-workers-per-gpu", type=click.IntRange(min=1), help="Most workers of local models on one GPU.")
@click.option("--retry", type=click.IntRange(min=0), help="Further attempts after a failure that may pass.")
@click.option(
    "--budget", metavar="DOLLARS", help="Most that this call may spend; it stops before that would be exceeded."
)
@click.option("--max-requests", type=click.IntRange(min=1), help="Most requests that this call may send to models.")
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Table of prices, for models declared without one; comes before prices.yaml in the work dir.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be bought, and at what cost; buy and write nothing.")
@click.option(
    "-a",
    "--accelerator",
    type=click.Choice(["vllm", "lmdeploy"]),
    help="Run every transformers model of the run by this backend instead, its settings translated.",
)
@hf_options
@click.option("--debug", is_flag=True, help="One item after another in this process alone, a line for every response.")
def command(
    config: str | None,
    models: tuple[str, ...],
    judges: tuple[str, ...],
    datasets: tuple[str, ...],
    base_url: str | None,
    api_key_env: str | None,
    data_dir: Path | None,
    num_samples: int | None,
    limit: int | None,
    seed: int | None,
    work_dir: Path,
    mode: str,
    reuse: str | None,
    max_num_workers: int | None,
    max_workers_per_gpu: int | None,
    retry: int | None,
    budget: str | None,
    max_requests: int | None,
    prices: Path | None,
    dry_run: bool,
    accelerator: Literal["vllm", "lmdeploy"] | None,
    hf: dict[str, Any],
    debug: bool,
) -> None:
    """Collect answers, judge them, rate the models and write the report.

    CONFIG is a suite's name (see `arena list suites`), a YAML file or a Python file; without it, and without flags
    that say what to run, the suite `quickstart` is run. The last line printed is the path of the report.

    Exit code: 0 complete, 1 incomplete or failed, 2 wrong usage, 130 interrupted.
    """
    from arena.cli.tables import echo_forecast, print_summary
    from arena.config import load
    from arena.output import resume_command
    from arena.purse import Limits, dollars
    from arena.run import Interrupted, execute, stored_config
    from arena.run import dry_run as forecast_run
    from arena.store import FILE_NAME, Store

    if reuse is not None and reuse != "latest" and not re.fullmatch(r"\d{8}_\d{6}(_\d+)?", reuse):
        raise click.UsageError(
            f"-r takes a run such as 20260131_120000, or nothing, not {reuse!r}; put CONFIG before -r"
        )
    if mode == "viz" and reuse is None:
        raise click.UsageError("mode viz works on a run that exists: add -r (or -r RUN), or use `arena report`")
    if dry_run and (budget is not None or max_requests is not None):
        raise click.UsageError("--dry-run buys nothing: leave out --budget and --max-requests")
    if dry_run and mode == "viz":
        raise click.UsageError("mode viz buys nothing: leave out --dry-run")
    try:
        limits = Limits(None if budget is None else dollars(budget), max_requests)
    except ValueError:
        raise click.UsageError(
            f"--budget is an amount of dollars above 0, such as 20 or 0.50, not {budget!r}"
        ) from None
    settings = {
        "data_dir": data_dir,
        "limit": limit,
        "num_samples": num_samples,
        "seed": seed,
        "max_num_workers": max_num_workers,
        "max_workers_per_gpu": max_workers_per_gpu,
        "retry": retry,
    }

    def announce(text: str) -> None:
        click.echo(text, err=True)

    declared = hf_declaration(hf)
    if "hf_path" in hf:
        models = (*models, f"hf:{hf['hf_path']}")
    named = bool(config or models or judges or datasets)
    with told():
        if reuse is not None and not named:
            if any(
                value is not None
                for value in (*settings.values(), base_url, api_key_env, accelerator, declared or None)
            ):
                raise click.UsageError(
                    "-r without CONFIG continues with the run's own config: give CONFIG to change it"
                )
            with Store(work_dir / FILE_NAME, create=False, read_only=dry_run) as store:
                run_config = stored_config(store.run(reuse, own=True))
        else:
            run_config = load(
                config or (None if named else "quickstart"),
                models=models,
                judges=judges,
                datasets=datasets,
                settings=settings,
                base_url=base_url,
                api_key_env=api_key_env,
                hf=declared,
                accelerator=accelerator,
            )
        if dry_run:
            forecasts = forecast_run(
                run_config,
                work_dir,
                mode=mode,  # type: ignore[arg-type]
                reuse=reuse,
                price_table=prices,
                announce=announce,
            )
            echo_forecast(forecasts)
            return
        try:
            outcome = execute(
                run_config,
                work_dir,
                mode=mode,  # type: ignore[arg-type]
                reuse=reuse,
                debug=debug,
                limits=limits,
                price_table=prices,
                announce=announce,
            )
        except (Interrupted, KeyboardInterrupt):
            click.echo(f"interrupted; what had come is kept: continue with `{resume_command(work_dir)}`", err=True)
            sys.exit(130)
    print_summary(work_dir, outcome.run)
    if not outcome.complete:
        again = resume_command(work_dir, outcome.run)
        click.echo(f"INCOMPLETE: ask again for what is missing with `{again}`", err=True)
    if outcome.report is not None:
        click.echo(str(outcome.report))
    sys.exit(0 if outcome.complete else 1)
