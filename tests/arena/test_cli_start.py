"""What starting costs, by what is imported and not by the clock: a slow machine must not fail a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import environment

HEAVY = {
    *(
        "pydantic",
        "numpy",
        "scipy",
        "openai",
        "aiohttp",
        "httpx2",
        "jinja2",
        "rich",
        "nh3",
        "markdown_it",
        "sqlite3",
        "asyncio",
    ),
    *("yaml", "pandas", "torch", "transformers"),
}


def imported(*args: str, cwd: Path) -> set[str]:
    """The top-level modules that `python -m arena ARGS` imports, after Python's own `-X importtime`."""
    command = [sys.executable, "-X", "importtime", "-m", "arena", *args]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("run", "--help"),
        ("list", "--help"),
        ("show", "--help"),
        ("rate", "--help"),
        ("report", "--help"),
        ("import", "--help"),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(args: tuple[str, ...], tmp_path: Path) -> None:
    found = imported(*args, cwd=tmp_path)
    assert "click" in found  # the reading of importtime works
    assert found & HEAVY == set()


def test_listing_models_asks_for_no_client_and_no_numbers(tmp_path: Path) -> None:
    found = imported("list", "models", cwd=tmp_path)
    assert "yaml" in found
    assert found & {"numpy", "scipy", "aiohttp", "httpx2", "asyncio", "pydantic"} == set()


def test_a_recorded_run_never_loads_the_client(tmp_path: Path) -> None:
    found = imported("run", "quickstart", "--limit", "1", "-w", "w", cwd=tmp_path)
    assert "numpy" in found
    assert found & {"openai", "aiohttp", "httpx2"} == set()
