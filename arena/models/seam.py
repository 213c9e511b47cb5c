"""The seam between the line and whatever answers: one small protocol, and the errors that cross it.

A model takes a stream of requests that is fed while the run goes on and yields a response for each as it finishes, in any
order, with its `key`. One that can score likelihoods too (its declaration's `kinds` say so) takes both kinds of request in
one stream, so that they share its batches. Concurrency, threads and batches hide behind it. A failure is a response with an
"error:<class>" status; `ModelStopped` ends the model for this run (a wrong key, an unknown model id), with the remedy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from arena.batch_book import BatchBook
from judge.types import Request, Response


class ModelStopped(Exception):
    """This model can answer nothing more in this run. `status` is "error:<class>", the message tells the remedy."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Generates(Protocol):
    """A model that writes, and may say how likely a text is."""

    def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        """One response for every request, as they finish. May raise ModelStopped; requests still open then have no response."""
        ...

    async def close(self) -> None:
        """Frees connections, processes and memory."""
        ...


class Surroundings(Protocol):
    """What a model that is asked by the batch must know of the run around it."""

    @property
    def book(self) -> BatchBook:
        """Where batches are written down."""
        ...

    def more_may_come(self) -> bool:
        """Whether models that answer one by one are at work, so that further requests may follow from their answers."""
        ...

    def interrupted(self) -> bool:
        """Whether the run was stopped from outside: nothing new is to be bought."""
        ...


@runtime_checkable
class AskedByTheBatch(Protocol):
    """A model that writes, and takes its requests many at once."""

    def join(self, surroundings: Surroundings) -> None:
        """To be called once, before `generate`."""
        ...
