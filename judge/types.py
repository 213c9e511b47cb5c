"""The nouns of the system: frozen values without I/O, in the lowest room, because every other room may look down.

An `Item` becomes `Request`s, a `Request` gets a `Response`, answers to an item make a `Case`, a judge reads a case into
`Judgment`s, and the judgments of a case add up to a `Verdict`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

Kind = Literal["generate", "loglikelihood"]
"""What is asked of a model: to write, or to say how likely a text is."""

JudgingKind = Literal["pairwise", "grade", "exact"]

TIE = "tie"
"""The third choice of a pairwise judge; the others are the letters of the answers as shown, "A" and "B"."""


def canonical(value: object) -> str:
    """One spelling of a JSON value: sorted keys, no spaces, ASCII (so that lone surrogates and NUL survive).

    Raises ValueError for NaN and infinities, which JSON has no spelling for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: object) -> str:
    """Hex SHA-256 of a JSON value's canonical spelling."""
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that belongs to a question. `sha256` (hex) identifies its bytes; "" where only a URL is known, which then
    identifies it. `source` is the URL, or the path of the file.
    """

    source: str
    sha256: str = ""
    media_type: str = ""

    @property
    def identity(self) -> str:
        return self.sha256 or self.source


@dataclass(frozen=True, slots=True)
class Message:
    """`images` are shown before the text."""

    role: Literal["system", "user", "assistant"]
    content: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a multiple-choice item."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a dataset.

    `turns` are the user's messages; `reference` holds a reference answer for each turn (or is empty), to be shown to a
    judge; `gold` the accepted exact answers (any one of them is right), compared as `match` says. `images` belong to the
    first turn.
    """

    dataset: str
    id: str
    turns: tuple[str, ...]
    category: str = ""
    language: str = "en"
    reference: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    gold: tuple[str, ...] = ()
    match: Literal["", "number", "choice", "text"] = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Image, ...] = ()


def illustrated(messages: Sequence[Message], item: Item) -> tuple[Message, ...]:
    """The messages with the item's images in the last one, which is the user's."""
    if not item.images:
        return tuple(messages)
    return (*messages[:-1], replace(messages[-1], images=item.images))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model draws its answer. None leaves a setting to the server."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "temperature": _one_spelling(self.temperature),
            "top_p": _one_spelling(self.top_p),
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": list(self.stop),
        }


def _one_spelling(number: float | None) -> float | None:
    """0, 0.0 and -0.0 are one temperature and must give one key."""
    return None if number is None else float(number) + 0.0


@dataclass(frozen=True, slots=True)
class Address:
    """What a request is about, for people and for recorded models: never sent to a model.

    `role` is "answer" for a candidate, else the kind of judging; `models` are the candidates concerned, in the order shown.
    """

    dataset: str
    item: str
    role: Literal["answer", "grade", "pairwise"]
    models: tuple[str, ...]
    turn: int = 0


@dataclass(frozen=True)
class Request:
    """What a model is asked. `identity` says what will answer it (see `Asker`), `prompt` is the hash of the prompt file.

    Of a "loglikelihood" request the messages are the context, and `continuation` is the text whose likelihood after it is asked.
    `schema` is the JSON Schema to which the reply is bound, as JSON, or "".
    """

    model: str
    identity: str
    messages: tuple[Message, ...]
    sampling: Sampling
    address: Address
    kind: Kind = "generate"
    prompt: str = ""
    sample: int = 0
    continuation: str = ""
    schema: str = ""

    @cached_property
    def key(self) -> str:
        """A hash of everything that can change the answer: cache, resume and deduplication are this one idea."""
        asked: dict[str, Any] = {
            "kind": self.kind,
            "identity": self.identity,
            "messages": [_spelled(message) for message in self.messages],
            "sampling": self.sampling.as_json(),
            "prompt": self.prompt,
            "sample": self.sample,
        }
        if self.continuation:
            asked["continuation"] = self.continuation
        if self.schema:
            asked["schema"] = self.schema
        return digest(asked)


def _spelled(message: Message) -> list[Any]:
    """A message without images is spelled as before there were any: keys of older stores stay valid."""
    shown = [[image.identity for image in message.images]] if message.images else []
    return [message.role, message.content, *shown]


@dataclass(frozen=True, slots=True)
class Asker:
    """A model as the pure rooms see it: enough to write requests to it, no way to send them.

    `fingerprint` hashes the model's declaration (backend, id, revision, base URL, extra body...). A model that answers by
    looking up what a request is *about* (`recorded`) is `addressed`: there the address decides the answer, so it is
    part of the identity.
    """

    name: str
    fingerprint: str
    sampling: Sampling = Sampling()
    system: str = ""
    addressed: bool = False
    schema: str = ""

    def request(
        self,
        messages: Sequence[Message],
        address: Address,
        *,
        prompt: str = "",
        sample: int = 0,
        max_tokens: int | None = None,
        schema: str = "",
    ) -> Request:
        """A request to this model; `max_tokens` is used where the model's own sampling sets no limit, `schema` comes before the
        one that binds all of its replies. Each `sample` of the same question is a request of its own, with its own seed.
        """
        sampling = self.sampling
        if sampling.max_tokens is None and max_tokens is not None:
            sampling = Sampling(sampling.temperature, sampling.top_p, max_tokens, sampling.seed, sampling.stop)
        identity = self.fingerprint
        if self.addressed:
            # A candidate's answer is looked up without its own name, so that a renamed model keeps its keys.
            shown = [] if address.role == "answer" else list(address.models)
            where = [address.dataset, address.item, address.role, shown, address.turn]
            identity = digest([self.fingerprint, where])
        # A judge prompt brings its own system message; the declared one is for models that are asked without.
        own = messages[0].role == "system" if messages else False
        if sample and sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + sample)
        system = () if own or not self.system else (Message("system", self.system),)
        return Request(
            model=self.name,
            identity=identity,
            messages=(*system, *messages),
            sampling=sampling,
            address=address,
            prompt=prompt,
            sample=sample,
            schema=schema or self.schema,
        )


ANSWERED = frozenset({"ok", "truncated", "cut", "filtered", "empty", "overflow"})
"""The statuses of a response that came back and is kept. Every other status is "error:<class>": nothing came back."""

JUDGEABLE = frozenset({"ok", "truncated", "cut"})
"""The statuses whose text is an answer that can be judged: `truncated` is cut off at the token limit, `cut` the answer to a
prompt of which a part was left out to make it fit.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back. An error is a status, never text. Tokens, seconds and cost are None where unknown.

    `attempts` are those that were sent (0: none was). Of `lost` ones nothing arrived, and a provider may charge for them.

    `logprobs` of a generated text are as its server gave them; of a "loglikelihood" request they are `{"sum": the natural
    logarithm of the continuation's probability, "tokens": [of each of its tokens], "greedy": whether each was the likeliest}`.
    """

    key: str
    status: str
    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    logprobs: Any = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    latency_s: float | None = None
    attempts: int = 1
    lost: int = 0
    error: str = ""

    @property
    def failed(self) -> bool:
        return self.status not in ANSWERED


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what came back for it."""

    request: Request
    response: Response


@dataclass(frozen=True, slots=True)
class Answer:
    """A candidate's answer to an item: one exchange a turn, fewer where a turn failed."""

    model: str
    exchanges: tuple[Exchange, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(e.response.text for e in self.exchanges)

    @property
    def status(self) -> str:
        """The first status that is not "ok", else "ok"."""
        return next((e.response.status for e in self.exchanges if e.response.status != "ok"), "ok")

    @property
    def judgeable(self) -> bool:
        return all(e.response.status in JUDGEABLE for e in self.exchanges)


@dataclass(frozen=True, slots=True)
class Case:
    """An item with the answer(s) to be judged: one for a grade, two (A and B as shown) for a battle; of several samples, the
    answers of this one.
    """

    item: Item
    answers: tuple[Answer, ...]
    sample: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(a.model for a in self.answers)

    def swap(self) -> Case:
        """The same case with A and B exchanged."""
        return replace(self, answers=self.answers[::-1])


UNREADABLE = (
    "no_verdict",
    "two_verdicts",
    "verdict_not_last",
    "not_a_label",
    "not_on_scale",
    "no_answer_line",
    "two_answers",
    "not_a_number",
    "label_and_text_disagree",
    "truncated",
    "cut",
    "filtered",
    "empty",
    "overflow",
)
"""The closed list of reasons why a reply (or, for exact scoring, an answer) gave no judgment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """One reading by one judge: a choice or a score, or the reason why it is unreadable. Never a default.

    `models` are in the order shown: choice "A" and `preference` (the share of the win, 0..1) speak of `models[0]`.
    `swapped` marks the second order of a case. `key` is the request whose response was read.
    """

    judging: str
    kind: JudgingKind
    judge: str
    dataset: str
    item: str
    category: str
    models: tuple[str, ...]
    swapped: bool = False
    choice: str | None = None
    preference: float | None = None
    score: float | None = None
    unreadable: str | None = None
    key: str = ""
    sample: int = 0

    def __post_init__(self) -> None:
        read = self.preference is not None or self.score is not None
        if read == (self.unreadable is not None) or (self.choice is not None and not read):
            raise ValueError("a judgment holds either a reading or the reason why there is none")
        if self.unreadable is not None and self.unreadable not in UNREADABLE:
            raise ValueError(f"{self.unreadable!r} is no reason of the closed list")
        if self.preference is not None and not 0.0 <= self.preference <= 1.0:
            raise ValueError(f"a preference lies in 0..1, not {self.preference!r}")
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(f"a score is a finite number, not {self.score!r}")


class Judge(Protocol):
    """Two functions. `questions` is asked again with the judgments so far until it returns nothing (both orders, a repair
    question, a jury, an escalation are this one idea). A judge that asks nothing reads the candidate's own last exchange.
    """

    @property
    def name(self) -> str: ...

    @property
    def judging(self) -> str: ...

    @property
    def kind(self) -> JudgingKind: ...

    @property
    def questions_per_case(self) -> int:
        """How many judgments a case needs: 2 where both orders are asked, 0 for a judge that asks nothing."""
        ...

    def questions(self, case: Case, judgments: Sequence[Judgment]) -> list[Request]: ...

    def read(self, case: Case, exchange: Exchange) -> Judgment: ...
