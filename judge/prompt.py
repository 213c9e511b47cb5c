"""A prompt file: YAML front matter and a Jinja body with a `user` block and perhaps a `system` block.

Values are inserted once and never expanded: an answer that holds `{{ reference }}` or `{% include %}` reaches the judge as
those characters. Text from outside stands between fences that its author can't predict (see `fence`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from judge.types import TIE, Case, Message, canonical

PromptKind = Literal["question", "pairwise", "grade"]

_KINDS: tuple[PromptKind, ...] = ("question", "pairwise", "grade")
_KEYS = {"kind", "language", "version", "variables", "description", "labels", "scale", "output"}
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)


class PromptError(ValueError):
    """A prompt file that can't be used; the message names the file and what to change."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Grades from `low` to `high` in whole steps."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt file. `hash` covers every byte of it, so that a changed prompt is another question."""

    name: str
    kind: PromptKind
    language: str
    version: str
    variables: tuple[str, ...]
    description: str
    labels: tuple[str, ...]
    scale: Scale | None
    hash: str
    source: str
    template: Template

    def messages(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Renders the blocks with exactly the declared variables. Raises PromptError for a missing or an unknown one."""
        if set(values) != set(self.variables):
            raise PromptError(f"prompt {self.name}: wants {sorted(self.variables)}, was given {sorted(values)}")
        out = []
        for role in ("system", "user"):
            block = self.template.blocks.get(role)
            if block is not None:
                text = "".join(block(self.template.new_context(dict(values)))).strip()
                out.append(Message(role, text))
        return tuple(out)


def parse_prompt(name: str, source: str) -> Prompt:
    """Reads a prompt file's text. Raises PromptError, naming the prompt and the remedy, for anything that is not as it should."""
    parts = source.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise PromptError(f"prompt {name}: begins with a YAML front matter between two lines '---'")
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise PromptError(f"prompt {name}: front matter is no YAML: {error}") from None
    if not isinstance(front, dict) or set(front) - _KEYS:
        extra = sorted(map(str, set(front) - _KEYS)) if isinstance(front, dict) else front
        raise PromptError(f"prompt {name}: front matter knows the keys {sorted(_KEYS)}, not {extra}")
    kind = front.get("kind")
    if kind not in _KINDS:
        raise PromptError(f"prompt {name}: kind is one of {list(_KINDS)}, not {kind!r}")
    body = parts[2]
    try:
        used = meta.find_undeclared_variables(_ENVIRONMENT.parse(body))
        template = _ENVIRONMENT.from_string(body)
    except TemplateSyntaxError as error:
        line = (error.lineno or 0) + source[: len(source) - len(body)].count("\n")
        raise PromptError(f"prompt {name}: line {line}: {error.message}") from None
    if "user" not in template.blocks or set(template.blocks) - {"user", "system"}:
        raise PromptError(f"prompt {name}: the body is a block 'user', and perhaps a block 'system', nothing else")
    declared = tuple(front.get("variables") or ())
    if set(declared) != used:
        raise PromptError(
            f"prompt {name}: front matter declares the variables {sorted(declared)}, the template uses {sorted(used)}"
        )
    labels = tuple(str(label) for label in front.get("labels") or ())
    scale = None
    if kind == "pairwise" and labels not in (("A", "B"), ("A", "B", TIE)):
        raise PromptError(f"prompt {name}: labels are [A, B] or [A, B, tie], not {list(labels)}")
    if kind == "grade":
        bounds = front.get("scale")
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(type(x) is int for x in bounds)):
            raise PromptError(f"prompt {name}: scale is two whole numbers such as [1, 10], not {bounds!r}")
        scale = Scale(*bounds)
        if scale.low >= scale.high:
            raise PromptError(f"prompt {name}: the scale [{scale.low}, {scale.high}] is empty")
    if kind != "question" and front.get("output") != "tag":
        raise PromptError(f"prompt {name}: output is 'tag', not {front.get('output')!r}")
    return Prompt(
        name=name,
        kind=kind,
        language=str(front.get("language", "en")),
        version=str(front.get("version", "1")),
        variables=declared,
        description=str(front.get("description", "")),
        labels=labels,
        scale=scale,
        hash=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
        source=source,
        template=template,
    )


def fence(salt: bytes, case: Case) -> str:
    """Twelve hex digits that nobody who wrote an answer could know, yet every rerun on the same store reproduces.

    A keyed hash of the case: without the store's salt it can't be computed, so an answer can't close its own fence.
    """
    content = canonical([case.item.dataset, case.item.id, [[a.model, *a.texts] for a in case.answers]])
    return hmac.new(salt, content.encode("ascii"), hashlib.sha256).hexdigest()[:12]
