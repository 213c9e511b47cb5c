"""Which GPUs of this machine a worker sees, and how many workers each model may have."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What the workers of one model need: `gpus` each (None: one where there is one), at most `workers` of them (None: as
    many as there are GPUs for), with up to `per_gpu` workers on one GPU.
    """

    gpus: int | None = None
    workers: int | None = None
    per_gpu: int = 1

    def gpus_of(self, visible: Sequence[str]) -> int:
        """Raises ValueError with the remedy where a worker needs more than there are."""
        count = min(1, len(visible)) if self.gpus is None else self.gpus
        if count > len(visible):
            raise ValueError(
                f"run_cfg.num_gpus is {count}, this machine shows {len(visible)}: set it to {len(visible)}"
            )
        return count


def visible_gpus() -> tuple[str, ...]:
    """The GPUs this process may give out, by the names CUDA_VISIBLE_DEVICES knows; () without any."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        return tuple(name for name in names if name and name != "-1")
    program = shutil.which("nvidia-smi")
    return () if program is None else _listed(program)


@lru_cache(maxsize=8)
def _listed(program: str) -> tuple[str, ...]:
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal())


def chosen_gpus(visible: Sequence[str], count: int, per_gpu: int, in_use: Mapping[str, int]) -> tuple[str, ...] | None:
    """`count` GPUs with fewer than `per_gpu` workers, those with the fewest first; None where there are not so many."""
    free = sorted((name for name in visible if in_use.get(name, 0) < per_gpu), key=lambda name: in_use.get(name, 0))
    return tuple(free[:count]) if len(free) >= count else None


def shares(visible: Sequence[str], needs: Sequence[Need]) -> list[int]:
    """How many workers each model may have: one for each in turn while there are GPUs for it, and at least one (they wait
    for one another where there are too few). A model that needs no GPU has as many as it asks for, else one.
    """
    in_use: Counter[str] = Counter()
    counts = [0] * len(needs)
    growing = True
    while growing:
        growing = False
        for number, need in enumerate(needs):
            gpus = need.gpus_of(visible)
            if gpus == 0 or (need.workers is not None and counts[number] >= need.workers):
                continue
            taken = chosen_gpus(visible, gpus, need.per_gpu, in_use)
            if taken is not None:
                in_use.update(taken)
                counts[number] += 1
                growing = True
    return [
        max(1, count) if need.gpus_of(visible) else need.workers or 1 for count, need in zip(counts, needs, strict=True)
    ]


class Gpus:
    """Who uses which GPU in this process. Who finds none free waits, and is served in the order of asking."""

    def __init__(self) -> None:
        self._in_use: Counter[str] = Counter()
        self._waiting: deque[tuple[int, int, asyncio.Future[tuple[str, ...]]]] = deque()

    @property
    def are_short(self) -> bool:
        return any(not promise.done() for _, _, promise in self._waiting)

    async def take(self, need: Need) -> tuple[str, ...]:
        """Raises ValueError."""
        visible = visible_gpus() if need.gpus != 0 else ()
        count = need.gpus_of(visible)
        if count == 0:
            return ()
        promise: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, need.per_gpu, promise))
        self._serve()
        try:
            return await promise
        except asyncio.CancelledError:
            if promise.done() and not promise.cancelled():
                self.give_back(promise.result())
            self._serve()
            raise

    def give_back(self, taken: Sequence[str]) -> None:
        self._in_use.subtract(taken)
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            count, per_gpu, promise = self._waiting[0]
            if promise.done():  # given up
                self._waiting.popleft()
                continue
            taken = chosen_gpus(visible_gpus(), count, per_gpu, self._in_use)
            if taken is None:
                return
            self._waiting.popleft()
            self._in_use.update(taken)
            promise.set_result(taken)
