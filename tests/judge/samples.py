"""Small values of the nouns, for the tests of the judges."""

from __future__ import annotations

from typing import Any

from judge.types import Address, Answer, Case, Exchange, Item, Message, Request, Response, Sampling


def response(text: str, status: str = "ok") -> Response:
    return Response(key="k", status=status, text=text)


def exchange(text: str, status: str = "ok", *, models: tuple[str, ...] = ("m",), role: Any = "answer") -> Exchange:
    request = Request("m", "identity", (Message("user", "q"),), Sampling(), Address("d", "i", role, models))
    return Exchange(request, response(text, status))


def answer(model: str, *texts: str) -> Answer:
    return Answer(model, tuple(exchange(text, models=(model,)) for text in texts))


def item(*turns: str, **changes: Any) -> Item:
    return Item(**{"dataset": "d", "id": "i", "turns": turns or ("What is it?",), **changes})


def battle(a: str = "first", b: str = "second", **changes: Any) -> Case:
    return Case(item(**changes), (answer("x", a), answer("y", b)))
