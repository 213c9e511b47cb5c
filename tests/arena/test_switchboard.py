"""The switchboard with backends of its own making: none may hang it, and none is asked twice for one thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from arena.models.seam import Generates, ModelStopped
from arena.store import Store
from arena.switchboard import Line, Switchboard
from judge.types import Address, Asker, Message, Request, Response

ASKER = Asker("m", "fingerprint")


class Backend:
    """Answers everything with its key; ends, stops or breaks after `lasts` responses if told to."""

    def __init__(self, lasts: int = 1_000_000, ending: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self._lasts = lasts
        self._ending = ending

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        async for request in requests:
            if len(self.asked) == self._lasts:
                if self._ending is not None:
                    raise self._ending
                return
            self.asked.append(request.key)
            await asyncio.sleep(0)
            yield Response(key=request.key, status="ok", text=f"answer to {request.messages[-1].content}")

    async def close(self) -> None:
        pass


class Silent:
    """Sees what happens and says nothing."""

    def __init__(self) -> None:
        self.stops: list[str] = []

    def asked(self, request: Request) -> None: ...

    def arrived(self, request: Request, response: Response, *, bought: bool) -> None: ...

    def stopped(self, model: str, error: str) -> None:
        self.stops.append(error)

    def waiting(self, model: str) -> None: ...


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "arena.db") as opened:
        opened.start_run("r", "", "", {}, {})
        yield opened


def question(text: str, item: str) -> Request:
    return ASKER.request([Message("user", text)], Address("d", item, "answer", ("m",)))


def ask_all(store: Store, backend: Generates, requests: list[Request]) -> list[Response]:
    async def run() -> list[Response]:
        async with Switchboard(store, "r", {"m": Line(backend)}, Silent()) as board:
            return await asyncio.wait_for(asyncio.gather(*(board.ask(request) for request in requests)), 20)

    return asyncio.run(run())


def test_equal_requests_are_asked_once_and_all_answered(store: Store) -> None:
    backend = Backend()
    responses = ask_all(store, backend, [question("same", str(n)) for n in range(10)] + [question("other", "x")])
    assert [r.text for r in responses] == ["answer to same"] * 10 + ["answer to other"]
    assert len(backend.asked) == 2
    assert len(list(store.exchanges("r"))) == 11, "each place knows its answer"


def test_what_is_in_the_store_is_not_asked(store: Store) -> None:
    requests = [question(str(n), str(n)) for n in range(5)]
    ask_all(store, Backend(), requests)
    again = Backend()
    assert [r.text for r in ask_all(store, again, requests)] == [f"answer to {n}" for n in range(5)]
    assert again.asked == []


@pytest.mark.parametrize(
    ("ending", "status"), [(ModelStopped("error:auth", "no key"), "error:auth"), (None, "error:backend")]
)
def test_a_backend_that_ends_early_leaves_nobody_waiting(
    store: Store, ending: ModelStopped | None, status: str
) -> None:
    responses = ask_all(store, Backend(3, ending), [question(str(n), str(n)) for n in range(9)])
    assert sorted(r.status for r in responses) == sorted(["ok"] * 3 + [status] * 6)
    assert len(store.failures("r")) == 6
    with Store(store.path) as other:
        assert other.claim(question("8", "8").key), "no claim is left behind"


def test_a_fault_of_a_backend_reaches_who_waits(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        ask_all(store, Backend(2, ZeroDivisionError()), [question(str(n), str(n)) for n in range(5)])
    assert len(list(store.exchanges("r"))) == 2, "what had come is kept"
