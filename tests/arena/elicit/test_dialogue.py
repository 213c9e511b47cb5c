"""Dialogues: each turn after the answer before, and an end where there is nothing to go on from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arena import catalog
from arena.elicit.dialogue import next_request
from judge.prompt import parse_prompt
from judge.types import Asker, Choice, Exchange, Item, Message, Request, Response, Sampling

ASKER = Asker("m", "fingerprint", Sampling(0.5))
ITEM = Item(dataset="d", id="i", turns=("one?", "two?", "three?"))
SYSTEM = parse_prompt("with_system", """\
---
kind: question
variables: [question]
---
{% block system %}The prompt's own.{% endblock %}
{% block user %}Q: {{ question }}{% endblock %}
""")  # fmt: skip


def answered(request: Request, text: str, status: str = "ok") -> Exchange:
    return Exchange(request, Response(key=request.key, status=status, text=text))


def asked(asker: Asker = ASKER, item: Item = ITEM, done: Any = (), **options: Any) -> Request:
    request = next_request(asker, item, done, **options)
    assert request is not None
    return request


def walk(asker: Asker = ASKER, item: Item = ITEM, **options: Any) -> list[Exchange]:
    done: list[Exchange] = []
    while (request := next_request(asker, item, done, **options)) is not None:
        done.append(answered(request, f"answer {len(done)}"))
    return done


def test_every_turn_is_asked_after_the_answers_before() -> None:
    done = walk()
    assert [e.request.address.turn for e in done] == [0, 1, 2]
    assert done[-1].request.messages == (
        Message("user", "one?"),
        Message("assistant", "answer 0"),
        Message("user", "two?"),
        Message("assistant", "answer 1"),
        Message("user", "three?"),
    )
    assert {e.request.address.role for e in done} == {"answer"}
    assert {e.request.address.models for e in done} == {("m",)}
    assert {(e.request.prompt, e.request.sampling) for e in done} == {("", Sampling(0.5))}


def test_without_a_prompt_a_turn_is_sent_as_it_is() -> None:
    item = replace(ITEM, turns=("  {{ 7*7 }}\n{% include 'x' %} \x00 \ud83d\r\n ",))
    assert asked(item=item).messages == (Message("user", item.turns[0]),)
    assert asked(item=item, prompts={}).messages == (Message("user", item.turns[0]),)


def test_the_declared_system_prompt_stands_first_once() -> None:
    for exchange in walk(replace(ASKER, system="Be brief.")):
        roles = [message.role for message in exchange.request.messages]
        assert roles.count("system") == 1
        assert exchange.request.messages[0] == Message("system", "Be brief.")


@pytest.mark.parametrize("declared", ["", "Be brief."])
def test_a_prompts_own_system_message_holds_for_every_turn(declared: str) -> None:
    for exchange in walk(replace(ASKER, system=declared), prompts={"": SYSTEM}):
        systems = [m for m in exchange.request.messages if m.role == "system"]
        assert systems == [Message("system", "The prompt's own.")]
        assert exchange.request.messages[0] == systems[0]
        assert exchange.request.prompt == SYSTEM.hash


def test_the_prompt_words_the_first_turn_only() -> None:
    done = walk(prompts={"": SYSTEM})
    assert [m.content for m in done[-1].request.messages if m.role == "user"] == ["Q: one?", "two?", "three?"]


def test_a_prompt_is_chosen_by_the_items_language() -> None:
    prompts = catalog.language_variants("exact")
    item = Item(dataset="d", id="i", turns=("Where?",), choices=(Choice("A", "here"),), gold=("A",), match="choice")
    english = asked(item=item, prompts=prompts)
    chinese = asked(item=replace(item, language="zh"), prompts=prompts)
    assert "Answer: X" in english.messages[0].content
    assert "答案：X" in chinese.messages[0].content
    assert all("A. here" in request.messages[0].content for request in (english, chinese))
    assert (english.prompt, chinese.prompt) == (prompts[""].hash, prompts["zh"].hash)
    assert asked(item=replace(item, language="fr"), prompts=prompts).key == english.key


@pytest.mark.parametrize("status", ["empty", "filtered", "overflow", "error:timeout", "error:auth"])
def test_a_dialogue_that_broke_off_has_no_next_turn(status: str) -> None:
    first = asked()
    assert next_request(ASKER, ITEM, [answered(first, "text", status)]) is None


def test_a_truncated_answer_is_gone_on_from() -> None:
    second = asked(done=[answered(asked(), "half an ans", "truncated")])
    assert second.messages[1] == Message("assistant", "half an ans")


def test_the_end_is_the_end() -> None:
    done = walk()
    assert len(done) == 3
    assert next_request(ASKER, ITEM, done) is None


def test_limits_and_keys() -> None:
    assert asked(max_tokens=7).sampling == Sampling(0.5, max_tokens=7)
    assert asked(Asker("m", "fingerprint", Sampling(max_tokens=3)), max_tokens=7).sampling.max_tokens == 3
    first = asked()
    keys = {asked(done=[answered(first, text)]).key for text in ("a", "b", "a ")}
    assert len(keys) == 3
