"""What a run may spend: asked before every request that costs something, told of every response.

No limit is ever passed, because a request is let through only where the most that it can cost, and the most that those under
way can cost, still fit. Where they don't, it waits until some have come back for less; where nothing is under way any more,
the purse is closed and nothing further is asked.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arena.models.spec import ModelSpec, OpenAIModel, Price
from judge.types import Request, Response

_A_MESSAGE, _A_CHAT = 16, 64
"""More tokens than chat templates put around a message, and around a chat (some bring a system message of their own)."""
_AN_IMAGE = 50_000
"""More tokens than the dearest model makes of a picture."""
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one call may buy: `dollars`, and `requests` (a request tried again counts once). None is no limit."""

    dollars: float | None = None
    requests: int | None = None

    def __bool__(self) -> bool:
        return self.dollars is not None or self.requests is not None


class Purse:
    """Counts what is spent and what is under way. `closed` says why nothing more is asked; "" while something may be."""

    def __init__(self, limits: Limits, specs: Sequence[ModelSpec]) -> None:
        """`specs` are all models that may be asked; under a limit of dollars each must have a price (see `unlimited`)."""
        self._limits = limits
        self._specs = {spec.abbr: spec for spec in specs}
        self._held: dict[str, float] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self.spent = 0.0
        self.requests = 0
        self.closed = ""
        self.status = ""

    async def admit(self, request: Request) -> bool:
        """Whether the request may be asked. Waits while that depends on what is under way."""
        most = 0.0 if self._limits.dollars is None else dearest(request, self._specs[request.model])
        while not self.closed:
            if self._limits.requests is not None and self.requests >= self._limits.requests:
                self._close("error:max_requests", f"--max-requests {self._limits.requests} is reached")
            elif self._limits.dollars is None or self.spent + sum(self._held.values()) + most <= self._limits.dollars:
                self.requests += 1
                self._held[request.key] = most
                return True
            elif not self._held:
                told = (
                    f"--budget {self._limits.dollars:g} is used up: ${self.spent:.4f} spent, and the next request may "
                )
                self._close("error:budget", f"{told}cost up to ${most:.4f}")
            else:
                waiting = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting
        return False

    def settle(self, response: Response) -> None:
        """What a request came to: its cost, or the most it may have cost where that isn't known; and, for every attempt whose
        answer got lost, the most once more.
        """
        most = self._held.pop(response.key, None)
        if most is None:
            return
        self.requests -= response.attempts == 0
        self.spent += most * response.lost
        if not response.failed and response.status != "overflow":  # which is a refusal: nothing was written
            self.spent += most if response.cost is None else response.cost
        self._wake()

    def _close(self, status: str, why: str) -> None:
        self.status, self.closed = status, why
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)


def dearest(request: Request, spec: ModelSpec) -> float:
    """The most dollars that a request can cost: no token is shorter than a byte, and no reply longer than its limit.

    Nobody charges for what runs on this machine. Raises ValueError for a model without a price or a request without a limit.
    """
    if not isinstance(spec, OpenAIModel):
        return 0.0
    limit = 1 if request.kind == "loglikelihood" else longest(spec, request.sampling.max_tokens)
    price = spec.price
    if price is None or limit is None:
        raise ValueError(f"model {spec.abbr!r} has no price, or no limit of length")
    sent = sum(_A_MESSAGE + len(message.content.encode("utf-8", "replace")) for message in request.messages)
    sent += len((request.continuation + request.schema).encode("utf-8", "replace"))
    sent += sum(_AN_IMAGE * len(message.images) for message in request.messages)
    sent += _A_CHAT + (len(json.dumps(spec.extra_body)) if spec.extra_body else 0)
    return (sent * max(price.input, price.cached_input or 0.0) + limit * price.output) / 1e6


def price_of(spec: ModelSpec) -> Price | None:
    """What a provider charges; nothing for what runs on this machine. None where that isn't known."""
    return spec.price if isinstance(spec, OpenAIModel) else Price(input=0, output=0)


def longest(spec: ModelSpec, max_tokens: int | None) -> int | None:
    """The most tokens a reply may have, where `max_tokens` is asked for. None where nothing limits it.

    `extra_body` overrides what is asked for. Of two fields that both hold a limit it's not known which one the server heeds.
    """
    if not isinstance(spec, OpenAIModel):
        return max_tokens
    sent: dict[str, Any] = {spec.max_tokens_field: max_tokens}
    sent |= {name: spec.extra_body[name] for name in _LENGTH_FIELDS if name in spec.extra_body}
    limits = [limit for limit in sent.values() if limit is not None]
    sound = limits and all(isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 for limit in limits)
    return max(limits) if sound else None


def unlimited(specs: Sequence[ModelSpec], lengths: Mapping[str, Sequence[int | None]]) -> list[str]:
    """Why a budget in dollars can't be kept: models without a price, or asked for replies of any length.

    `lengths` are the limits with which each model will be asked.
    """
    problems = []
    for spec in specs:
        where = f"--budget: model {spec.abbr!r}"
        if price_of(spec) is None:
            remedy = "add `price: {input: ..., output: ...}` to it, or its model to prices.yaml in the work dir"
            problems.append(f"{where} has no price: {remedy}")
        charged = isinstance(spec, OpenAIModel)
        if charged and any(longest(spec, limit) is None for limit in lengths.get(spec.abbr, ())):
            problems.append(
                f"{where} may write answers of any length: set max_out_len for it (in extra_body a whole number)"
            )
    return problems


def dollars(text: str) -> float:
    """A budget as given on the command line, such as 20 or 0.50. Raises ValueError for what is no amount above 0."""
    # float() would also take "nan", "1_0" and Arabic digits.
    if not re.fullmatch(r"\$?[0-9]{1,12}(\.[0-9]{1,12})?", text) or not float(text.lstrip("$")):
        raise ValueError(f"no amount of dollars above 0: {text!r}")
    return float(text.lstrip("$"))
