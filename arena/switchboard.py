"""Every request of a run goes through here: from the store if it was bought before, else to its model, and into the store.

A response is committed before anyone sees it. Requests with the same key are asked once, in this run and in others that
use the same store at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

from arena.batch_book import BatchBook
from arena.models.seam import AskedByTheBatch, Generates, ModelStopped
from arena.purse import Purse
from arena.store import Store
from judge.types import Request, Response

_POLL_S = 0.2
_LONG_S = 10.0
_GRACE_S = 3.0
_PARTING_S = 1.0


class Watcher(Protocol):
    """Is told what happens, for progress lines and logs."""

    def asked(self, request: Request) -> None: ...

    def arrived(self, request: Request, response: Response, *, bought: bool) -> None: ...

    def stopped(self, model: str, error: str) -> None: ...

    def waiting(self, model: str) -> None:
        """Another run on this store has been asking `model` for the same thing for some time."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A model of the run. `free` ones are never claimed against other runs; without `answers` it is asked for judgments
    only, and what it answered as a candidate must be in the store.
    """

    backend: Generates
    free: bool = False
    answers: bool = True


class Switchboard:
    """Use as an async context manager around the run's walk."""

    def __init__(
        self, store: Store, run: str, lines: Mapping[str, Line], watcher: Watcher, purse: Purse | None = None
    ) -> None:
        self._store = store
        self._run = run
        self._lines = lines
        self._watcher = watcher
        self._purse = purse
        self._queues: dict[str, asyncio.Queue[Request | None]] = {name: asyncio.Queue() for name in lines}
        self._stopped: dict[str, ModelStopped] = {}
        self._open: dict[str, tuple[Request, asyncio.Future[Response]]] = {}
        self._asked: set[str] = set()
        self._handed_over: set[str] = set()
        self._pumps: list[asyncio.Task[None]] = []
        self._closing = False
        self._interrupted = False

    async def __aenter__(self) -> Self:
        for name, line in self._lines.items():
            if isinstance(line.backend, AskedByTheBatch):
                line.backend.join(_Around(self, name))
        self._pumps = [asyncio.create_task(self._pump(name, line), name=name) for name, line in self._lines.items()]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closing = True
        self._interrupted = kind is not None
        for queue in self._queues.values():
            while kind is not None and not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)
        # Interrupted: what is under way gets a moment to arrive, because it will be paid for anyway.
        grace = None if kind is None else _GRACE_S
        pumps = [pump for pump in self._pumps if not pump.done()]
        if pumps:
            await asyncio.wait(pumps, timeout=grace)
        for pump in pumps:
            pump.cancel()
        if kind is not None and pumps:
            # Servers and workers may take long to end. They are on their way out, and end without us.
            await asyncio.wait(pumps, timeout=_PARTING_S)
            for pump in pumps:
                pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for waiting in self._open.values():
            if not self._lines[waiting[0].model].free:
                self._store.release(waiting[0].key)
        for line in self._lines.values():
            with suppress(Exception):
                await line.backend.close()

    @property
    def batches(self) -> BatchBook:
        return self._store.batches

    @property
    def interrupted(self) -> bool:
        """Whether the walk was broken off."""
        return self._interrupted

    def others_at_work(self, name: str) -> bool:
        """Whether models that answer one by one, other than `name`, have something under way."""
        models = {self._open[key][0].model for key in self._asked} - {name}
        return any(not isinstance(self._lines[model].backend, AskedByTheBatch) for model in models)

    async def ask(self, request: Request) -> Response:
        """What the model answers, now or before. A failure is a response with an "error:<class>" status."""
        waiting = self._open.get(request.key)
        if waiting is not None:
            response = await asyncio.shield(waiting[1])
            if response.failed:
                self._store.keep(self._run, request, response)
            else:
                self._store.note_asked(self._run, request)
            self._watcher.arrived(request, response, bought=False)
            return response
        stored = self._store.response(request.key)
        if stored is not None:
            return self._found(request, stored)
        line = self._lines[request.model]
        if request.address.role == "answer" and not line.answers:
            missing = "the store holds no answer and this mode asks for none: run without -m eval first"
            return self._failed(request, "error:not_collected", missing)
        if request.model in self._stopped:
            return self._refused(request)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        # Whoever waits may be cancelled before a fault reaches it; asyncio would then print the fault for each of them.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._open[request.key] = (request, future)
        if not line.free:
            stored = await self._claim(request)
            if stored is not None:
                self._settle(request.key, stored)
                return self._found(request, stored)
            if self._purse is not None and not await self._purse.admit(request):
                return self._failed(request, self._purse.status, self._purse.closed)
        if request.model in self._stopped:
            return self._refused(request)
        self._watcher.asked(request)
        self._asked.add(request.key)
        self._queues[request.model].put_nowait(request)
        return await future

    async def _claim(self, request: Request) -> Response | None:
        """Takes the right to ask; or waits for the response of another run on this store that is asking for the same thing."""
        begun = asyncio.get_running_loop().time()
        while not self._store.claim(request.key):
            if request.model in self._stopped:
                return None
            if asyncio.get_running_loop().time() - begun > _LONG_S:
                self._watcher.waiting(request.model)
            await asyncio.sleep(_POLL_S)
            stored = self._store.response(request.key)
            if stored is not None:
                return stored
        # Between our look into the store and the claim the other run may have finished.
        stored = self._store.response(request.key)
        if stored is not None:
            self._store.release(request.key)
        return stored

    def _found(self, request: Request, stored: Response) -> Response:
        self._store.note_asked(self._run, request)
        self._watcher.arrived(request, stored, bought=False)
        return stored

    def _failed(self, request: Request, status: str, error: str) -> Response:
        sent = int(request.key in self._handed_over)
        response = Response(key=request.key, status=status, error=error, attempts=sent)
        self._arrived(request, response)
        return response

    def _refused(self, request: Request) -> Response:
        stop = self._stopped[request.model]
        return self._failed(request, stop.status, str(stop))

    async def _pump(self, name: str, line: Line) -> None:
        """Feeds one model and takes in what it yields."""
        try:
            async for response in line.backend.generate(self._feed(name)):
                self._arrived(self._open[response.key][0], response)
            if not self._closing:
                # Whatever the backend's reason: who waits for it would wait for ever.
                self._stop(name, ModelStopped("error:backend", "the backend ended before all was answered"))
        except ModelStopped as stop:
            self._stop(name, stop)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # A fault of ours or a full disk: whoever waits must hear of it, or the run would hang.
            for waiting in list(self._open.values()):
                if waiting[0].model == name and not waiting[1].done():
                    waiting[1].set_exception(error)
            raise

    def _stop(self, name: str, stop: ModelStopped) -> None:
        """Ends a model for this run: what was sent to it and not answered fails; who waits for a claim finds out by itself."""
        self._stopped[name] = stop
        self._watcher.stopped(name, str(stop))
        for request in [open_[0] for open_ in self._open.values() if open_[0].model == name]:
            if request.key in self._asked:
                self._failed(request, stop.status, str(stop))

    async def _feed(self, name: str) -> AsyncIterator[Request]:
        while (request := await self._queues[name].get()) is not None:
            self._handed_over.add(request.key)
            yield request

    def _arrived(self, request: Request, response: Response) -> None:
        if self._purse is not None:
            self._purse.settle(response)
        response = self._store.keep(self._run, request, response)
        self._watcher.arrived(request, response, bought=True)
        self._settle(request.key, response)

    def _settle(self, key: str, response: Response) -> None:
        self._asked.discard(key)
        self._handed_over.discard(key)
        waiting = self._open.pop(key, None)
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result(response)


@dataclass(frozen=True, slots=True)
class _Around:
    """What one model sees of the run: see `seam.Surroundings`."""

    board: Switchboard
    model: str

    @property
    def book(self) -> BatchBook:
        return self.board.batches

    def more_may_come(self) -> bool:
        return self.board.others_at_work(self.model)

    def interrupted(self) -> bool:
        return self.board.interrupted
