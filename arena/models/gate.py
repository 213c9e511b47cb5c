"""When an attempt may start: where requests wait while a server's rate limit holds."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from arena.models.retry import Pace


class Gate:
    """Where attempts wait while the server's rate limit holds.

    Requests refused most often go first: they have the fewest tries left.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._open = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, attempt: int) -> float:
        """Waits for the turn of a request's attempt number `attempt`; returns the time (of the loop's clock)."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (-attempt, next(self._tickets), turn))
        self._admit()
        await turn
        return loop.time()

    def limited(self, sent: float, wait: float, *, told: bool) -> None:
        """A rate limit was met by an attempt that entered at `sent`: see Pace.limited."""
        now = asyncio.get_running_loop().time()
        self._pace.limited(sent=sent, now=now, wait=wait, told=told)

    def open(self) -> None:
        """Lets everybody through from now on, to find that the model has stopped."""
        self._open = True
        self._admit()

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            now = loop.time()
            start = now if self._open else self._pace.next_start(now)
            if start > now:
                self._timer = loop.call_at(start, self._admit)
                return
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._pace.started(now)
                turn.set_result(None)
