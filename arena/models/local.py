"""A model that runs on this machine as a backend: one worker process, loaded at the first request and fed until there are no
more. Which engine runs the model is the worker's to know.

The worker is a program of its own rather than a `multiprocessing` child, which would run the caller's main module again:
a script without `if __name__ == "__main__"` may call `arena.run.execute`. This process imports no torch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from arena.models.gpus import Gpus
from arena.models.local_spec import LocalModel
from arena.models.retry import shortened
from arena.models.seam import ModelStopped
from judge.types import Request, Response

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from arena.models.worker import main; main()"
_LONGEST_LINE = 2**28
_CLOSING_S = 10.0
_GPUS = Gpus()
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A request without a response. `alone`: a worker died over it, so it goes through in a batch of its own."""

    request: Request
    attempts: int = 1
    alone: bool = False


@dataclass(slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    errors: IO[bytes]
    gpus: tuple[str, ...]

    async def send(self, *frames: dict[str, Any]) -> None:
        """Writes what the process, if it still lives, will read."""
        assert self.process.stdin is not None
        with suppress(ConnectionError, RuntimeError):  # it died; whoever reads from it finds out
            self.process.stdin.write(b"".join(json.dumps(frame).encode("ascii") + b"\n" for frame in frames))
            await self.process.stdin.drain()

    async def read(self) -> dict[str, Any] | None:
        """The next frame; None where the process ended."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        frame: dict[str, Any] = json.loads(line)
        return frame

    async def end(self) -> None:
        """Closing its input ends the process at once, whatever it is doing."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), _CLOSING_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self.errors.close()
        _GPUS.give_back(self.gpus)

    def said(self) -> str:
        """The last line of its standard error."""
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - 4096))
        lines = self.errors.read().decode("utf-8", "replace").split("\n")
        return shortened(next((line for line in reversed(lines) if line.strip()), ""), 300)


class LocalBackend:
    """`arena.models.seam.Generates` for a declaration. The process starts with the first request and ends with `generate`."""

    def __init__(self, spec: LocalModel) -> None:
        self._spec = spec
        self._open: dict[str, _Open] = {}
        self._fed = False
        self._needed = asyncio.Event()
        self._running: _Worker | None = None
        self._listening: _Worker | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return None if self._running is None else self._running.process.pid

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        out: asyncio.Queue[Response | BaseException | None] = asyncio.Queue()
        self._open, self._fed = {}, False
        tasks = [asyncio.create_task(_told(out, self._feed(requests, out)))]
        tasks.append(asyncio.create_task(_told(out, self._serve(out))))
        try:
            while (one := await out.get()) is not None:
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        worker, self._running, self._listening = self._running, None, None
        if worker is not None:
            await worker.end()

    async def _feed(
        self, requests: AsyncIterator[Request], out: asyncio.Queue[Response | BaseException | None]
    ) -> None:
        async for request in requests:
            one = self._open[request.key] = _Open(request)
            self._needed.set()
            if self._listening is not None:
                await self._listening.send(_frame(one))
        self._fed = True
        self._end_if_done(out)

    def _end_if_done(self, out: asyncio.Queue[Response | BaseException | None]) -> None:
        if self._fed and not self._open:
            out.put_nowait(None)

    async def _serve(self, out: asyncio.Queue[Response | BaseException | None]) -> None:
        """One worker after another, as long as something is asked. Raises ModelStopped."""
        in_vain = 0
        while True:
            while not self._open:
                self._needed.clear()
                await self._needed.wait()
            worker = self._running = await self._start()
            begun, answered = await self._listen(worker, out)
            self._running = self._listening = None
            code = await worker.process.wait()
            death = f"its worker process {worker.process.pid} ended with {_exit(code)}"
            death += f" ({worker.said()})" if worker.said() else ""
            await worker.end()
            in_vain = 0 if answered or begun else in_vain + 1
            if in_vain > self._spec.retry:
                raise ModelStopped("error:worker", f"model {self._spec.abbr!r}: {death}; nothing was under way")
            _log.warning("model %r: %s; a new one is started", self._spec.abbr, death)
            for key in begun:
                self._after_death(self._open[key], death, out)

    def _after_death(self, one: _Open, death: str, out: asyncio.Queue[Response | BaseException | None]) -> None:
        if one.attempts > self._spec.retry:
            key = one.request.key
            del self._open[key]
            out.put_nowait(Response(key=key, status="error:worker", error=death, attempts=one.attempts))
            self._end_if_done(out)
            return
        one.attempts += 1
        one.alone = True

    async def _listen(
        self, worker: _Worker, out: asyncio.Queue[Response | BaseException | None]
    ) -> tuple[list[str], bool]:
        """Takes in what a worker writes until it ends: the keys that were under way then, and whether it answered any."""
        begun: list[str] = []
        answered = False
        await worker.send(self._spec.model_dump(mode="json"))
        while (frame := await worker.read()) is not None:
            if "failed" in frame:
                raise ModelStopped(frame["failed"], frame["error"])
            if "ready" in frame:
                self._listening = worker
                await worker.send(*map(_frame, list(self._open.values())))
            elif "begun" in frame:
                begun = [key for key in frame["begun"] if key in self._open]
            elif frame["key"] in self._open:
                answered = True
                one = self._open.pop(frame["key"])
                begun = [key for key in begun if key != frame["key"]]
                out.put_nowait(Response(**{**frame, "attempts": one.attempts}))
                self._end_if_done(out)
        return begun, answered

    async def _start(self) -> _Worker:
        try:
            gpus = _GPUS.take(self._spec.run_cfg.num_gpus)
        except ValueError as error:
            raise ModelStopped("error:setup", f"model {self._spec.abbr!r}: {error}") from None
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _BOOT,
            json.dumps(sys.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LONGEST_LINE,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpus), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            start_new_session=True,  # Ctrl-C is the run's to handle: what is under way gets a moment to arrive
        )
        return _Worker(process, errors, gpus)


async def _told(out: asyncio.Queue[Response | BaseException | None], work: Any) -> None:
    """Runs a part of `generate`; what goes wrong there is raised by `generate`."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        out.put_nowait(error)


def _frame(one: _Open) -> dict[str, Any]:
    request = one.request
    return {
        "key": request.key,
        "messages": [[message.role, message.content] for message in request.messages],
        "sampling": request.sampling.as_json(),
        "alone": one.alone,
    }


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else ""
    why = "; where nobody killed it, memory ran out" if -code == signal.SIGKILL else ""
    return f"exit code {code} ({name or 'a signal'}{why})"
