"""The program as its user calls it: a process of its own, with a work dir of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared" / "data"


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without keys, and with the checkout importable from any folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ARENA_"))}
    return {**clean, "PYTHONPATH": str(REPO), "COLUMNS": "200", **(changes or {})}


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "arena", *map(str, args)]


def arena(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m arena ...` to its end."""
    return subprocess.run(
        command(*args), cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=timeout, check=False
    )


def start(*args: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Begins `python -m arena ...` and returns at once."""
    return subprocess.Popen(
        command(*args), cwd=cwd, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
