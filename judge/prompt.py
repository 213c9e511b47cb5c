"""A prompt file: YAML front matter and a Jinja body with a `user` block and perhaps a `system` block.

Values are inserted once and never expanded: an answer that holds `{{ reference }}` or `{% include %}` reaches the judge as
those characters. Text from outside stands between fences that its author can't predict (see `fence`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from judge.types import TIE, Case, Message, canonical

PromptKind = Literal["question", "pairwise", "grade"]

_KINDS: tuple[PromptKind, ...] = ("question", "pairwise", "grade")
# What a judge, or whoever puts a question, hands to a prompt of this kind; the flagged ones no prompt can do without.
_VARIABLES: dict[PromptKind, dict[str, bool]] = {
    "question": {"question": True, "choices": False, "match": False},
    "pairwise": {"turns": True, "fence": True},
    "grade": {"turns": True, "fence": True, "scale": False},
}
_KEYS = {"kind", "language", "version", "variables", "description", "labels", "scale", "output"}
_FRONT_MATTER = re.compile(r"\s*^---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.MULTILINE | re.DOTALL)
_GREATEST_GRADE = 999_999
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
        """Renders the blocks. `values` holds all variables of the prompt's kind, of which it uses those it declares.

        Raises PromptError for a missing variable, and for whatever a template can do wrong.
        """
        if missing := sorted(set(self.variables) - set(values)):
            raise PromptError(f"prompt {self.name}: wants {sorted(self.variables)}, was not given {missing}")
        out = []
        for role in ("system", "user"):
            block = self.template.blocks.get(role)
            if block is not None:
                try:
                    text = "".join(block(self.template.new_context({name: values[name] for name in self.variables})))
                except Exception as error:
                    # A template may divide by zero or call what can't be called: all of it is the file's fault.
                    kind = type(error).__name__
                    raise PromptError(f"prompt {self.name}: block {role} can't be rendered: {kind}: {error}") from None
                out.append(Message(role, text))
        return tuple(out)


def parse_prompt(name: str, source: str) -> Prompt:
    """Reads a prompt file's text. Raises PromptError, naming the prompt and the remedy, for anything that is not as it should.

    The template is rendered once with made-up values, so that a misspelt field is found before anything is paid for.
    """
    text = source.removeprefix("\ufeff").replace("\r\n", "\n")
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise PromptError(f"prompt {name}: begins with a YAML front matter between two lines '---'")
    front = _front_matter(name, match.group(1))
    kind = front.get("kind")
    if kind not in _KINDS:
        raise PromptError(f"prompt {name}: kind is one of {list(_KINDS)}, not {kind!r}")
    body = text[match.end() :]
    template, used = _template(name, body, first_line=text[: match.end()].count("\n"))
    declared = _names(name, front, "variables")
    if set(declared) != used:
        raise PromptError(
            f"prompt {name}: front matter declares the variables {sorted(declared)}, the template uses {sorted(used)}"
        )
    known = _VARIABLES[kind]
    if unknown := sorted(used - set(known)):
        raise PromptError(f"prompt {name}: a {kind} prompt is given the variables {sorted(known)}, not {unknown}")
    if lacking := sorted(variable for variable, needed in known.items() if needed and variable not in used):
        raise PromptError(f"prompt {name}: a {kind} prompt must use {lacking}")
    labels = _names(name, front, "labels")
    if kind == "pairwise" and labels not in (("A", "B"), ("A", "B", TIE)):
        raise PromptError(f"prompt {name}: labels are [A, B] or [A, B, tie], not {list(labels)}")
    if kind != "question" and front.get("output") != "tag":
        raise PromptError(f"prompt {name}: output is 'tag', not {front.get('output')!r}")
    prompt = Prompt(
        name=name,
        kind=kind,
        language=str(front.get("language", "en")),
        version=str(front.get("version", "1")),
        variables=declared,
        description=str(front.get("description", "")),
        labels=labels,
        scale=_scale(name, front) if kind == "grade" else None,
        hash=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
        source=source,
        template=template,
    )
    _try_out(prompt)
    return prompt


def _front_matter(name: str, text: str) -> dict[str, Any]:
    try:
        front = yaml.safe_load(text)
    except Exception as error:  # PyYAML lets ValueError, KeyError and others through for bad dates, booleans, numbers
        raise PromptError(f"prompt {name}: front matter is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(front, dict) or set(front) - _KEYS:
        extra = sorted(map(str, set(front) - _KEYS)) if isinstance(front, dict) else front
        raise PromptError(f"prompt {name}: front matter knows the keys {sorted(_KEYS)}, not {extra}")
    return front


def _names(name: str, front: dict[str, Any], key: str) -> tuple[str, ...]:
    value = front.get(key) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise PromptError(f"prompt {name}: {key} is a list of names such as [a, b], not {value!r}")
    return tuple(value)


def _scale(name: str, front: dict[str, Any]) -> Scale:
    bounds = front.get("scale")
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(type(x) is int for x in bounds)):
        raise PromptError(f"prompt {name}: scale is two whole numbers such as [1, 10], not {bounds!r}")
    scale = Scale(*bounds)
    if scale.low >= scale.high:
        raise PromptError(f"prompt {name}: the scale [{scale.low}, {scale.high}] is empty")
    if max(abs(scale.low), abs(scale.high)) > _GREATEST_GRADE:
        raise PromptError(f"prompt {name}: grades have at most six digits, not {bounds!r}")
    return scale


def _template(name: str, body: str, first_line: int) -> tuple[Template, set[str]]:
    """The compiled body and the variables it uses. `first_line` is the number of lines above the body."""
    try:
        tree = _ENVIRONMENT.parse(body)
        used = meta.find_undeclared_variables(tree) - set(_ENVIRONMENT.globals)
        blocks = [node for node in tree.body if isinstance(node, nodes.Block)]
        outside = [node for node in tree.body if not (isinstance(node, nodes.Block) or _is_blank(node))]
        for block in blocks:
            _trim(block)
        template = _ENVIRONMENT.from_string(tree)
    except TemplateSyntaxError as error:
        raise PromptError(f"prompt {name}: line {(error.lineno or 0) + first_line}: {error.message}") from None
    except RecursionError:
        raise PromptError(f"prompt {name}: the template is nested too deeply") from None
    if "user" not in template.blocks or set(template.blocks) - {"user", "system"}:
        raise PromptError(f"prompt {name}: the body is a block 'user', and perhaps a block 'system', nothing else")
    if outside:
        line = outside[0].lineno + first_line
        raise PromptError(
            f"prompt {name}: line {line}: stands outside the blocks and would reach nobody: move it inside"
        )
    return template, used


def _is_blank(node: nodes.Node) -> bool:
    parts = node.nodes if isinstance(node, nodes.Output) else [node]
    return all(isinstance(part, nodes.TemplateData) and not part.data.strip() for part in parts)


def _trim(block: nodes.Block) -> None:
    """Takes the file's own blank margins off a block, before values are inserted: theirs must stay."""
    for index, strip in ((0, str.lstrip), (-1, str.rstrip)):
        edge = block.body[index] if block.body else None
        part = edge.nodes[index] if isinstance(edge, nodes.Output) else None
        if isinstance(part, nodes.TemplateData):
            part.data = strip(part.data)


def _try_out(prompt: Prompt) -> None:
    """Renders made-up items of one turn and of two, with a reference and without. Raises PromptError."""
    for values in _samples(prompt.kind):
        text = prompt.messages(values)[-1].content
        lacking = [shown for shown in _MATERIAL[prompt.kind] if shown not in text]
        # Of two turns a prompt may mean to show only the last; of one it shows all that is to be judged.
        if lacking and len(values.get("turns", [None])) == 1:
            raise PromptError(f"prompt {prompt.name}: block user does not show {' and '.join(lacking)} as it is")


_MATERIAL: dict[PromptKind, tuple[str, ...]] = {
    "question": ("the question",),
    "pairwise": ("answer a", "answer b"),
    "grade": ("the answer",),
}


def _samples(kind: PromptKind) -> Iterator[dict[str, Any]]:
    if kind == "question":
        for match in ("", "text", "number", "choice"):
            choices = [{"label": "A", "text": "yes"}, {"label": "B", "text": "no"}] if match == "choice" else []
            yield {"question": "the question", "choices": choices, "match": match}
        return
    answers = {"a": "answer a", "b": "answer b"} if kind == "pairwise" else {"answer": "the answer"}
    for turns in (1, 2):
        for reference in (None, "the reference"):
            turn = {"question": "the question", "reference": reference, **answers}
            yield {"turns": [turn] * turns, "fence": "0123456789ab", "scale": {"low": 1, "high": 10}}


def fence(salt: bytes, case: Case) -> str:
    """Twelve hex digits that nobody who wrote an answer could know, yet every rerun on the same store reproduces.

    A keyed hash of the case: without the store's salt it can't be computed, so an answer can't close its own fence.
    """
    content = canonical([case.item.dataset, case.item.id, [[a.model, *a.texts] for a in case.answers]])
    return hmac.new(salt, content.encode("ascii"), hashlib.sha256).hexdigest()[:12]
