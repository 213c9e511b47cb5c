"""What is told of a process that ended: the cause, not what was said after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.execution.local import last_said

CAUSE = "RuntimeError: Unsupported attention configuration: head_dim=16"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ""),
        (["loading", "", "half way", ""], "half way"),
        (["loading", CAUSE, "INFO Parent process exited, terminating worker queues"], CAUSE),
        ([CAUSE, "EngineDeadError: EngineCore had an issue. See stack trace (above) for the root cause."], CAUSE),
        (["EngineDeadError: See stack trace (above) for the root cause.", "bye"], "EngineDeadError: See stack trace"),
        ([CAUSE, *["INFO still here"] * 100], CAUSE),
    ],
)
def test_the_cause_is_told(tmp_path: Path, lines: list[str], told: str) -> None:
    path = tmp_path / "log"
    path.write_text("\n".join(lines))
    with path.open("rb") as log:
        assert last_said(log).startswith(told)
        assert bool(last_said(log)) == bool(told)


def test_a_signal_is_not_blamed_on_an_earlier_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{CAUSE}\ngoing on\n")
    with path.open("rb") as log:
        assert last_said(log, errors_first=False) == "going on"
