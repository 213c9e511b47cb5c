from __future__ import annotations

import sys

import click

from arena.cli.options import told


@click.command("ping")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--base-url", metavar="URL", help="Server of the openai models that are given by name.")
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds their key.")
def command(models: tuple[str, ...], base_url: str | None, api_key_env: str | None) -> None:
    """Ask each MODEL one short question, and say what came back, how long it took and what the model can do.

    MODEL is named as `run --models` names it: of the catalogue, a file, or backend:model. A server is asked three more
    short questions: whether it gives log-probabilities, holds to a JSON schema, and heeds a system message ("no": it
    refuses; "ignored": it answers as if it had not been asked; "unknown": that question broke off). Nothing is stored.
    Exit code 1 where a model fails.
    """
    from arena.config import load_models
    from arena.ping import ping, shown
    from reports.text import visible

    with told():
        found = ping(load_models(models, base_url=base_url, api_key_env=api_key_env))
    for one in found:
        click.echo(visible(shown(one)).replace("\n", " "))
    sys.exit(0 if all(one.ok for one in found) else 1)
