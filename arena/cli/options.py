"""Options that several commands share, and how errors of the rooms below become messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arena.store import Store

WORK_DIR = click.option(
    "-w",
    "--work-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outputs/default"),
    show_default=True,
    help="Folder of the store and of the runs.",
)


@contextmanager
def told() -> Iterator[None]:
    """Turns what the rooms below raise for a user's mistake into messages: exit code 2 for bad input, 1 for the rest."""
    from arena.config import ConfigError
    from arena.jsonl import BadFile
    from arena.store import StoreError
    from judge.prompt import PromptError

    try:
        yield
    except (ConfigError, BadFile) as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(2)
    except PromptError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except StoreError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(1)


@contextmanager
def opened(work_dir: Path) -> Iterator[Store]:
    """The store of an existing work dir."""
    from arena.store import FILE_NAME, Store

    with told(), Store(work_dir / FILE_NAME, create=False) as store:
        yield store
