"""Writes docs/cli.md from the program's own help: `python docs/generate_cli.py`. A test fails where the file is out of date."""

from __future__ import annotations

from pathlib import Path

import click

from arena.cli import group

_HEAD = """\
# The commands

Written by `python docs/generate_cli.py` from the program's own help; change the help, not this page.
`arena` and `python -m arena` are the same program. What a command finds goes to standard output, everything it says on
the way to standard error.

Exit codes of every command: **0** done and complete, **1** incomplete or failed, **2** wrong usage or a file that can't be
used, **130** interrupted.
"""
_WIDTH = 100


def reference() -> str:
    """The page: the help of the program and of every command, 100 columns wide whatever the terminal."""
    root = click.Context(group, info_name="arena", terminal_width=_WIDTH, **group.context_settings)
    parts = [_HEAD, _block(group.get_help(root))]
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root)
        parts.append(f"## {name}\n\n{_block(command.get_help(context))}")
    return "\n".join(parts)


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    (Path(__file__).parent / "cli.md").write_text(reference(), "utf-8", newline="\n")
