"""Which GPUs of this machine a worker sees."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence


def visible_gpus() -> tuple[str, ...]:
    """The GPUs this process may give out, by the names CUDA_VISIBLE_DEVICES knows; () without any."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        return tuple(name for name in names if name and name != "-1")
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal())


def chosen_gpus(visible: Sequence[str], wanted: int | None, in_use: Mapping[str, int]) -> tuple[str, ...]:
    """`wanted` GPUs (None: one where there is one), those that fewest models use first. Models may share a GPU.

    Raises ValueError with the remedy where there are fewer than wanted.
    """
    count = min(1, len(visible)) if wanted is None else wanted
    if count > len(visible):
        raise ValueError(f"run_cfg.num_gpus is {count}, this machine shows {len(visible)}: set it to {len(visible)}")
    return tuple(sorted(visible, key=lambda name: in_use.get(name, 0))[:count])


class Gpus:
    """Who uses which GPU in this process."""

    def __init__(self) -> None:
        self._in_use: Counter[str] = Counter()

    def take(self, wanted: int | None) -> tuple[str, ...]:
        """Raises ValueError."""
        taken = chosen_gpus(visible_gpus() if wanted != 0 else (), wanted, self._in_use)
        self._in_use.update(taken)
        return taken

    def give_back(self, taken: Sequence[str]) -> None:
        self._in_use.subtract(taken)
