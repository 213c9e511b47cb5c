"""Models behind an OpenAI-compatible server: chat completions, many at once, one retry loop.

The body of every reply is read here and not by the SDK, which would hand on whatever a server sends as an answer: a
reply becomes an answer only where `read_completion` finds one in it. Secrets are struck out of every message.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from arena.models.retry import Failure, Pace, error_of, failure_of_status, shown_url, wait_s
from arena.models.seam import ModelStopped
from arena.models.spec import OpenAIModel, Price
from judge.types import Request, Response

if TYPE_CHECKING:
    import openai

_SHORTEST_SECRET = 4
_NO_KEY = "none"
"""What is sent to a server of one's own that wants no key: the SDK insists on some."""


class OpenAIBackend:
    """Generates by `spec`. Constructing it imports the SDK and sends nothing.

    `api_key` is the value of `spec.api_key_env`. A declaration that can't work (no key for OpenAI's own server, a base
    URL that is none, an `extra_body` that overrides the messages) makes `generate` raise ModelStopped at once.
    """

    def __init__(self, spec: OpenAIModel, api_key: str | None) -> None:
        self._spec = spec
        self._key = (api_key or "").strip()
        self._secrets: tuple[str, ...] = ()
        self._client: openai.AsyncOpenAI | None = None
        self._stopped = _impediment(spec, self._key)
        if self._stopped is None:
            self._client = _client(spec, self._key or _NO_KEY)
            self._secrets = _secrets(spec, self._key, self._client.default_headers)
        self._gate = _Gate(Pace(spec.max_num_workers))
        self._halted = asyncio.Event()
        self._cause: Failure | None = None
        self._explaining = asyncio.Lock()
        self._reached = False
        self._unreached = 0
        self._random = random.Random()

    async def generate(self, requests: AsyncIterator[Request]) -> AsyncIterator[Response]:
        """A response for every request, as they finish; at most `max_num_workers` requests are held at a time.

        Raises ModelStopped, or what `requests` raised, after the attempts under way have finished and been yielded.
        """
        if self._stopped is not None:
            raise self._stopped
        slots = asyncio.Semaphore(self._spec.max_num_workers)
        finished: asyncio.Queue[asyncio.Task[Response | None]] = asyncio.Queue()
        under_way: set[asyncio.Task[Response | None]] = set()

        def start(work: Coroutine[Any, Any, Response | None]) -> asyncio.Task[Response | None]:
            task = asyncio.create_task(work)
            under_way.add(task)
            task.add_done_callback(finished.put_nowait)
            return task

        async def feed() -> None:
            while True:
                await slots.acquire()
                try:
                    request = await anext(requests)
                except StopAsyncIteration:
                    return
                start(self._answer(request))

        feeder = start(feed())
        ending: BaseException | None = None
        try:
            while under_way:
                task = await finished.get()
                under_way.discard(task)
                error = asyncio.CancelledError() if task.cancelled() else task.exception()
                if error is not None:
                    # What is under way has been paid for: it is waited for, nothing new is begun.
                    ending = ending or error
                    feeder.cancel()
                elif (response := task.result()) is not None:
                    slots.release()
                    yield response
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        if ending is not None:
            raise ending

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _answer(self, request: Request) -> Response:
        """The one retry loop. Raises ModelStopped where this or another request has met what ends the model."""
        if request.kind != "generate":
            message = "a chat server can't score log-likelihoods"
            return Response(key=request.key, status="error:bad_request", error=message, attempts=0)
        content = request_body(self._spec, request)
        for attempt in itertools.count(1):
            sent = await self._gate.enter(attempt)
            if self._cause is not None:
                await self._stop(self._cause)
            begun = time.monotonic()
            outcome = await self._attempt(content)
            if isinstance(outcome, bytes):
                latency = time.monotonic() - begun
                try:
                    return read_completion(
                        outcome, key=request.key, price=self._spec.price, attempts=attempt, latency_s=latency
                    )
                except BadBody as error:
                    outcome = Failure(status="error:bad_response", message=str(error), then="retry")
            if outcome.then == "stop":
                await self._stop(outcome)
            if outcome.then == "give_up" or attempt > self._spec.retry:
                return await self._failed(request, outcome, attempt)
            await self._back_off(outcome, attempt, sent)
        raise AssertionError("itertools.count() ended")

    async def _attempt(self, content: bytes) -> bytes | Failure:
        """The body of a 200, or what went wrong. The time limit covers all of it: a drip of bytes can't outlast it."""
        import httpx2
        import openai

        assert self._client is not None
        try:
            async with asyncio.timeout(self._spec.timeout_s):
                # Cheaper by a third than `chat.completions`, which transforms what we write and read ourselves.
                response = await self._client.post(
                    "/chat/completions",
                    content=content,
                    cast_to=httpx2.Response,
                    options={"follow_redirects": False},
                )
        except TimeoutError:
            message = f"no complete answer within {self._spec.timeout_s:g} s"
            failure = Failure(status="error:timeout", message=message, then="retry")
        except openai.APIStatusError as error:
            reply = error.response
            body = self._struck_out_of(reply.content, shortest=8)
            failure = failure_of_status(reply.status_code, body, reply.headers, time.time())
        except openai.APIConnectionError as error:
            failure = _failure_of_transport(error.__cause__ or error, self._spec.connect_timeout_s)
        else:
            self._reached = True
            return self._struck_out_of(response.content)
        self._reached = self._reached or not failure.unreached
        return failure

    async def _back_off(self, failure: Failure, attempt: int, sent: float) -> None:
        wait = wait_s(failure, attempt, self._spec.max_retry_wait_s, self._random.random())
        if failure.status == "error:rate_limit":
            self._gate.limited(sent, wait, told=failure.asked_wait_s is not None)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._halted.wait()

    async def _failed(self, request: Request, failure: Failure, attempts: int) -> Response:
        """The response of a request that got no answer; ends the model where no server has ever been there."""
        if failure.unreached and not self._reached:
            self._unreached += 1
            if self._unreached > self._spec.retry:
                await self._stop(failure)
        message = _shortened(self._struck(failure.message), 500)
        return Response(key=request.key, status=failure.status, error=message, attempts=attempts)

    async def _stop(self, failure: Failure) -> NoReturn:
        """Ends the model: nothing new is sent, all who wait are woken. Every caller gets the first one's reason."""
        self._cause = self._cause or failure
        self._halted.set()
        self._gate.open()
        async with self._explaining:
            if self._stopped is None:
                remedy = await self._remedy(self._cause)
                said = _shortened(self._struck(self._cause.message), 300).rstrip(".")
                where = f"model {self._spec.model!r} at {shown_url(self._spec.base_url)}"
                self._stopped = ModelStopped(self._cause.status, f"{where}: {said}; {self._struck(remedy)}")
        raise self._stopped from None

    async def _remedy(self, failure: Failure) -> str:
        variable = self._spec.api_key_env
        match failure.status:
            case "error:auth" if self._key:
                return f"check the key in the environment variable {variable}, and what it may use"
            case "error:auth":
                return f"the server wants a key: set the environment variable {variable}"
            case "error:quota":
                return f"top up the account, or set the environment variable {variable} to another account's key"
            case "error:connection":
                return f"no server answers at {shown_url(self._spec.base_url)}: is it running?"
            case _:
                return failure.remedy or await self._what_is_there()

    async def _what_is_there(self) -> str:
        """What `/models` says, for a server that knows no such model or no such path. Best effort."""
        import httpx2
        import openai

        assert self._client is not None
        wrong_url = "check base_url, which usually ends with /v1"
        try:
            async with asyncio.timeout(min(10.0, self._spec.timeout_s)):
                reply = await self._client.get("/models", cast_to=httpx2.Response, options={"follow_redirects": False})
            names = [str(entry["id"]) for entry in _parsed(reply.content)["data"]]
        except (openai.OpenAIError, TimeoutError, BadBody, KeyError, TypeError):
            return wrong_url
        if self._spec.model in names:
            return f"the server lists this model, but not under this address: {wrong_url}"
        nearest = sorted(names, key=lambda name: -SequenceMatcher(None, name, self._spec.model).ratio())
        shown = ", ".join(nearest[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        return f"the server knows no model {self._spec.model!r}; it lists: {_shortened(shown, 600) or 'none'}"

    def _struck(self, text: str) -> str:
        """`text` without any secret, whatever a server echoed."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def _struck_out_of(self, body: bytes, *, shortest: int = 16) -> bytes:
        """A body without the secrets of `shortest` characters and more.

        An answer loses only what is too long to be a word of its own: many a local server's key is "ollama" or "EMPTY".
        """
        for secret in self._secrets:
            if len(secret) >= shortest and secret.encode() in body:
                body = body.replace(secret.encode(), b"[secret]")
        return body


# -- what is sent -----------------------------------------------------------------------------------------------------

_OURS = ("messages", "model", "n", "stream")
"""Body fields that `extra_body` may not set: they would change what is asked, or the form of what comes back."""


def request_body(spec: OpenAIModel, request: Request) -> bytes:
    """The body of the chat completion, as UTF-8. Only settings that are set are sent; `extra_body` overrides them.

    Half a surrogate pair, which UTF-8 can't hold, is sent as U+FFFD.
    """
    sampling = request.sampling
    settings = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        spec.max_tokens_field: sampling.max_tokens,
        "logprobs": None if spec.logprobs is None else True,
        "top_logprobs": spec.logprobs or None,
    }
    body = {
        "model": spec.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        **{name: value for name, value in settings.items() if value is not None},
        **spec.extra_body,
    }
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _client(spec: OpenAIModel, key: str) -> openai.AsyncOpenAI:
    """The SDK's client: its own retries off, a connection for each worker, no time limit but ours."""
    import httpx2
    import openai

    for name in ("httpx2", "httpcore2"):
        # They log URLs and response headers, where a key may stand.
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    address = urlsplit(spec.base_url)
    headers = dict(spec.headers)
    if "@" in address.netloc and "authorization" not in map(str.lower, headers):
        # Left in the URL it would stand in the transport's logs.
        user = f"{unquote(address.username or '')}:{unquote(address.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    limits = httpx2.Limits(
        max_connections=spec.max_num_workers + 1,
        max_keepalive_connections=spec.max_num_workers + 1,
        # Below the 5 s after which uvicorn hangs up, so that a request rarely meets a connection that is being closed.
        keepalive_expiry=4.0,
    )
    client = openai.AsyncOpenAI(
        api_key=key,
        base_url=shown_url(spec.base_url),
        default_query=dict(parse_qsl(address.query)),
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=spec.connect_timeout_s),
        default_headers=headers,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits),
    )
    if not _is_openai(spec.base_url):
        # The SDK takes these from the environment and would send them to anybody's server.
        client.organization = client.project = None
    return client


def _is_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def _impediment(spec: OpenAIModel, key: str) -> ModelStopped | None:
    """Why this declaration can't work, known before anything is sent."""
    where = f"model {spec.abbr!r}"
    try:
        parts = urlsplit(spec.base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:
        usable = False
    if not usable:
        shown = shown_url(spec.base_url)
        return ModelStopped("error:connection", f"{where}: base_url {shown!r} is none; write http://HOST:PORT/v1")
    if taken := sorted(set(spec.extra_body) & set(_OURS)):
        return ModelStopped("error:bad_request", f"{where}: extra_body may not set {', '.join(taken)}: remove it")
    for name, value in spec.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t -~]*", value):
            return ModelStopped("error:bad_request", f"{where}: header {name!r} holds what no HTTP header can carry")
    authorized = "authorization" in map(str.lower, spec.headers) or "@" in parts.netloc
    if not key and not authorized and _is_openai(spec.base_url):
        return ModelStopped("error:auth", f"{where}: no API key: set the environment variable {spec.api_key_env}")
    if not re.fullmatch(r"[!-~]*", key):
        place = next(i for i, c in enumerate(key, 1) if not "!" <= c <= "~")
        variable = f"the key in the environment variable {spec.api_key_env}"
        return ModelStopped("error:auth", f"{where}: {variable} holds no key: character {place} is a space or no ASCII")
    return None


def _secrets(spec: OpenAIModel, key: str, headers: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything that must never be shown, in the spellings an echo may use, longest first."""
    address = urlsplit(spec.base_url)
    found = {key, unquote(address.password or "")}
    found |= {value for _, value in parse_qsl(address.query) if len(value) >= 8}
    for name, value in headers.items():
        if re.search(r"auth|key|token|secret|cookie|password", name, re.IGNORECASE) and isinstance(value, str):
            found |= {value, value.rpartition(" ")[2]}
    found = {secret for secret in found if len(secret) >= _SHORTEST_SECRET} - {_NO_KEY}
    spelled = {form for secret in found for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
    spelled |= {secret.replace("/", "\\/") for secret in found}
    return tuple(sorted(spelled, key=lambda secret: (-len(secret), secret)))


# -- what comes back --------------------------------------------------------------------------------------------------


class BadBody(ValueError):
    """The body of a 200 that holds no answer; the message says what came instead."""


def read_completion(
    body: bytes, *, key: str, price: Price | None = None, attempts: int = 1, latency_s: float | None = None
) -> Response:
    """The response in the body of a chat completion. Raises BadBody for anything that isn't one.

    Statuses: "truncated" where the server stopped at a length, "filtered" where it withheld or refused, "empty" where
    it finished without a word, else "ok". A leading `<think>` block goes to `reasoning`.
    """
    value = _parsed(body)
    if not isinstance(value, dict):
        raise BadBody(f"JSON of type {type(value).__name__} instead of an object")
    if value.get("error") is not None or value.get("object") == "error":
        raise BadBody(f"an error in a reply with status 200: {_shortened(error_of(body)[1], 300)}")
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadBody("no choices in the reply")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise BadBody("a choice without a message")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or finish in ("", "error", "abort"):
        raise BadBody(f"finish_reason {finish!r}: the answer was not finished")
    if not message.keys() & {"content", "refusal", "reasoning_content", "reasoning", "tool_calls"}:
        raise BadBody("a message without content")
    content, refusal = message.get("content"), message.get("refusal")
    if not isinstance(content, str | None):
        raise BadBody(f"content of type {type(content).__name__} instead of a text")
    refusal = refusal if content is None and isinstance(refusal, str) else ""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    thought, text = _without_thinking(content or "", finish)
    usage = _usage(value.get("usage"))
    return Response(
        key=key,
        status=_status(text, finish, refused=bool(refusal)),
        text=text or refusal,
        reasoning="\n".join(part for part in (reasoning, thought) if part and isinstance(part, str)),
        finish_reason=finish,
        logprobs=choice.get("logprobs"),
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached,
        cost=cost(usage, price),
        latency_s=latency_s,
        attempts=attempts,
    )


def _status(text: str, finish: str, *, refused: bool) -> str:
    if finish == "length":
        return "truncated"
    if finish == "content_filter" or refused:
        return "filtered"
    return "ok" if text.strip() else "empty"


def _parsed(body: bytes) -> Any:
    """JSON as its grammar has it: no NaN, no repeated key with two values. Raises BadBody."""
    start = body[:500].lstrip()
    if not start:
        raise BadBody("an empty body")
    if start.startswith(b"<"):
        raise BadBody(f"HTML instead of JSON: {_shortened(body[:2000].decode('utf-8', 'replace'), 120)!r}")
    try:
        return json.loads(body, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except RecursionError:
        raise BadBody("JSON nested too deeply to read") from None
    except BadBody:
        raise
    except ValueError:
        raise BadBody(f"no JSON: {_shortened(body[:2000].decode('utf-8', 'replace'), 120)!r}") from None


def _no_constant(name: str) -> NoReturn:
    raise BadBody(f"{name} in the reply, which is no JSON")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    merged = dict(pairs)
    if len(merged) < len(pairs):
        for name, value in pairs:
            if merged[name] != value:
                raise BadBody(f"the key {_shortened(name, 40)!r} twice in one object, with two values")
    return merged


_THINKING = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def _without_thinking(content: str, finish: str) -> tuple[str, str]:
    """(thinking, answer) of a content that may begin with a `<think>` block; a block cut off is all thinking."""
    if block := _THINKING.match(content):
        return block[1].strip(), content[block.end() :]
    if finish == "length" and content.lstrip().startswith("<think>"):
        return content.lstrip().removeprefix("<think>").strip(), ""
    return "", content


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them; None where it told nothing."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None


def _usage(value: object) -> Usage:
    if value is None:
        return Usage()
    if not isinstance(value, dict):
        raise BadBody(f"usage of type {type(value).__name__} instead of an object")
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    named = {"prompt_tokens": value.get("prompt_tokens"), "completion_tokens": value.get("completion_tokens")}
    return Usage(*(_count(name, count) for name, count in {**named, "cached_tokens": cached}.items()))


def _count(name: str, value: object) -> int | None:
    # bool is an int in Python, and SQLite can't hold an integer of any size.
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53):
        return value
    raise BadBody(f"usage with {name} {_shortened(repr(value), 40)}, which is no number of tokens")


def cost(usage: Usage, price: Price | None) -> float | None:
    """Dollars; None where the price or the tokens are unknown. Cached tokens cost `cached_input` where that is set."""
    if price is None or usage.input is None or usage.output is None:
        return None
    cached = 0 if price.cached_input is None else min(usage.cached or 0, usage.input)
    dollars = (usage.input - cached) * price.input + cached * (price.cached_input or 0.0) + usage.output * price.output
    return dollars / 1e6


def _failure_of_transport(cause: BaseException, connect_timeout_s: float) -> Failure:
    import httpx2

    said = _shortened(str(cause), 200) or type(cause).__name__
    if isinstance(cause, httpx2.DecodingError):
        message = f"a body that is not in the encoding it claims: {said}"
        return Failure(status="error:bad_response", message=message, then="retry")
    if isinstance(cause, httpx2.ConnectTimeout):
        message = f"no connection within {connect_timeout_s:g} s"
        return Failure(status="error:connection", message=message, then="retry", unreached=True)
    if isinstance(cause, httpx2.ConnectError):
        return Failure(status="error:connection", message=f"no connection: {said}", then="retry", unreached=True)
    if isinstance(cause, httpx2.TimeoutException):
        return Failure(status="error:timeout", message=said, then="retry")
    return Failure(status="error:connection", message=f"the connection broke: {said}", then="retry")


def _shortened(text: str, most: int) -> str:
    """One printable line of at most `most` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


# -- when an attempt may start ----------------------------------------------------------------------------------------


class _Gate:
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
