"""The nouns: what a request's key covers, what a judgment may hold, and which of them are their own inverse."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arena.models.spec import OpenAIModel, Price, RecordedModel
from judge.types import (
    ANSWERED,
    JUDGEABLE,
    UNREADABLE,
    Address,
    Answer,
    Asker,
    Case,
    Image,
    Judgment,
    Message,
    Request,
    Response,
    Sampling,
    canonical,
    digest,
)
from tests.judge.samples import answer, battle, exchange, item

# JSON has one spelling for a character beyond U+FFFF and for its two halves side by side: there they are one text.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8).map(
    lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
)
NUMBER = st.none() | st.floats(0, 2, allow_nan=False)
SAMPLING = st.builds(
    Sampling,
    temperature=NUMBER,
    top_p=NUMBER,
    max_tokens=st.none() | st.integers(1, 4096),
    seed=st.none() | st.integers(-(2**63), 2**63),
    stop=st.lists(TEXT, max_size=3).map(tuple),
)
IMAGES = st.lists(st.builds(Image, TEXT.filter(bool)), max_size=2).map(tuple)
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT, st.just(()) | IMAGES), max_size=4
).map(tuple)
ADDRESS = st.builds(
    Address, TEXT, TEXT, st.sampled_from(["answer", "grade", "pairwise"]), st.lists(TEXT, max_size=2).map(tuple)
)
REQUEST = st.builds(
    Request,
    model=TEXT,
    identity=TEXT,
    messages=MESSAGES,
    sampling=SAMPLING,
    address=ADDRESS,
    kind=st.sampled_from(["generate", "loglikelihood"]),
    prompt=TEXT,
    sample=st.integers(0, 5),
    continuation=st.just("") | TEXT,
)


class TestKey:
    @given(REQUEST, REQUEST)
    def test_requests_that_differ_have_different_keys(self, one: Request, other: Request) -> None:
        """All but the name of the model, whose identity stands for it, and the address, which is sent to nobody."""
        same = replace(other, model=one.model, address=one.address) == one
        assert (one.key == other.key) == same

    @settings(max_examples=400)
    @given(REQUEST, st.data())
    def test_any_one_field_changes_the_key(self, request_: Request, data: st.DataObject) -> None:
        fields: dict[str, st.SearchStrategy[Any]] = {
            "identity": TEXT,
            "messages": MESSAGES,
            "kind": st.sampled_from(["generate", "loglikelihood"]),
            "prompt": TEXT,
            "sample": st.integers(0, 5),
            "continuation": TEXT,
        }
        parts: dict[str, st.SearchStrategy[Any]] = {
            "temperature": NUMBER,
            "top_p": NUMBER,
            "max_tokens": st.none() | st.integers(1, 4096),
            "seed": st.none() | st.integers(),
            "stop": st.lists(TEXT, max_size=3).map(tuple),
        }
        name = data.draw(st.sampled_from([*fields, *parts]))
        if name in fields:
            changed = replace(request_, **{name: data.draw(fields[name])})
        else:
            changed = replace(request_, sampling=replace(request_.sampling, **{name: data.draw(parts[name])}))
        assume(changed != request_)
        assert changed.key != request_.key

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ((Message("user", "a"), Message("user", "b")), (Message("user", "ab"),)),
            ((Message("user", "a"),), (Message("assistant", "a"),)),
            ((Message("user", "a"), Message("assistant", "b")), (Message("assistant", "b"), Message("user", "a"))),
            ((Message("user", '","'),), (Message("user", ""), Message("user", ""))),
            ((Message("user", "a"),), (Message("user", "a "),)),
            ((Message("user", "é"),), (Message("user", "e\u0301"),)),
            ((Message("user", "\ud83d"),), (Message("user", "\\ud83d"),)),
            ((Message("user", "\ud83d\ude00"),), (Message("user", "\ud83d"), Message("user", "\ude00"))),
            ((), (Message("user", ""),)),
            ((Message("user", "", (Image("a.png"),)),), (Message("user", ""),)),
            ((Message("user", "", (Image("a.png"),)),), (Message("user", "", (Image("b.png"),)),)),
        ],
    )
    def test_messages_do_not_run_together(self, one: tuple[Message, ...], other: tuple[Message, ...]) -> None:
        made = Request("m", "i", one, Sampling(), Address("d", "i", "answer", ("m",)))
        assert made.key != replace(made, messages=other).key

    def test_an_image_is_its_bytes_wherever_they_lie(self) -> None:
        here, there = (Message("user", "?", (Image(path, sha256="ab"),)) for path in ("a.png", "/moved/b.png"))
        made = Request("m", "i", (here,), Sampling(), Address("d", "i", "answer", ("m",)))
        assert made.key == replace(made, messages=(there,)).key

    def test_zero_is_one_temperature(self) -> None:
        made = Request("m", "i", (), Sampling(temperature=0), Address("d", "i", "answer", ("m",)))
        assert made.key == replace(made, sampling=Sampling(temperature=0.0)).key
        assert made.key == replace(made, sampling=Sampling(temperature=-0.0)).key
        assert made.key != replace(made, sampling=Sampling()).key
        assert replace(made, sampling=Sampling(top_p=1)).key == replace(made, sampling=Sampling(top_p=1.0)).key

    def test_a_key_stays_what_it_was(self) -> None:
        """Keys are what stored responses are found by: one that changes buys every answer again."""
        made = Request(
            "m", "id", (Message("user", "hi"),), Sampling(0.5, 1, 16, 7, ("\n",)), Address("d", "i", "answer", ("m",))
        )
        spelled = (
            '{"identity":"id","kind":"generate","messages":[["user","hi"]],"prompt":"","sample":0,"sampling":{"max_tokens":16,'
            '"seed":7,"stop":["\\n"],"temperature":0.5,"top_p":1.0}}'
        )
        assert made.key == digest(json.loads(spelled))
        assert canonical(json.loads(spelled)) == spelled


MODEL = OpenAIModel(
    abbr="m", model="small-1", base_url="http://h/v1", headers={"X-Variant": "b"}, extra_body={"top_k": 4}
)


def key_of(spec: OpenAIModel | RecordedModel, **options: Any) -> str:
    address = Address(
        "d", "i", options.pop("role", "answer"), options.pop("models", (spec.abbr,)), options.pop("turn", 0)
    )
    return spec.asker().request([Message("user", "hi")], address, **options).key


class TestWhoAnswers:
    @pytest.mark.parametrize(
        "change",
        [
            {"model": "small-2"},
            {"base_url": "http://other/v1"},
            {"base_url": "https://h/v1"},
            {"base_url": "http://h/v1?api-version=2"},
            {"revision": "2"},
            {"system_prompt": "Be brief."},
            {"temperature": 0.0},
            {"temperature": 1.0},
            {"top_p": 0.5},
            {"max_out_len": 17},
            {"seed": 0},
            {"stop": ("\n",)},
            {"extra_body": {}},
            {"extra_body": {"top_k": 5}},
            {"extra_body": {"top_k": 4, "chat_template_kwargs": {"enable_thinking": False}}},
            {"logprobs": 5},
            {"headers": {}},
            {"headers": {"X-Variant": "c"}},
            {"headers": {"X-Variant": "b", "X-Other": "d"}},
            {"headers": {"X-Variant": "$VARIANT"}},
        ],
        ids=str,
    )
    def test_a_change_that_may_change_the_answer_changes_the_key(self, change: dict[str, Any]) -> None:
        changed = OpenAIModel.model_validate({**MODEL.model_dump(), **change})
        assert key_of(changed) != key_of(MODEL)

    @pytest.mark.parametrize(
        "change",
        [
            {"abbr": "renamed"},
            {"description": "words"},
            {"base_url": "http://h/v1/"},
            {"api_key_env": "OTHER_KEY"},
            {"timeout_s": 1},
            {"connect_timeout_s": 1},
            {"max_retry_wait_s": 1},
            {"retry": 0},
            {"max_num_workers": 1},
            {"max_tokens_field": "max_completion_tokens"},
            {"price": Price(input=1, output=2)},
            {"headers": {"x-variant": "b"}},
        ],
        ids=str,
    )
    def test_a_name_patience_and_price_do_not(self, change: dict[str, Any]) -> None:
        changed = OpenAIModel.model_validate({**MODEL.model_dump(), **change})
        assert key_of(changed) == key_of(MODEL)

    def test_a_secret_is_not_part_of_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = OpenAIModel(abbr="m", model="x", headers={"X-Api-Key": "$MY_KEY"})
        monkeypatch.setenv("MY_KEY", "one")
        before = key_of(made)
        monkeypatch.setenv("MY_KEY", "two")
        assert key_of(made) == before
        assert key_of(OpenAIModel(abbr="m", model="x", headers={"X-Api-Key": "$OTHER"})) == before

    def test_sample_prompt_and_limit_are_part_of_the_key(self) -> None:
        keys = [key_of(MODEL), key_of(MODEL, sample=1), key_of(MODEL, prompt="p"), key_of(MODEL, max_tokens=5)]
        assert len(set(keys)) == 4

    def test_the_models_own_limit_comes_first(self) -> None:
        asker = Asker("m", "f", Sampling(0.5, 0.9, 100, 3, ("x",)))
        made = asker.request([Message("user", "hi")], Address("d", "i", "answer", ("m",)), max_tokens=5)
        assert made.sampling == asker.sampling
        free = Asker("m", "f", Sampling(0.5, 0.9, None, 3, ("x",)))
        made = free.request([Message("user", "hi")], Address("d", "i", "answer", ("m",)), max_tokens=5)
        assert made.sampling == Sampling(0.5, 0.9, 5, 3, ("x",))

    def test_where_a_question_stands_is_no_part_of_the_key(self) -> None:
        assert key_of(MODEL, turn=1) == key_of(MODEL)
        assert key_of(MODEL, role="grade", models=("a",)) == key_of(MODEL)

    def test_but_for_a_recording_it_decides_the_answer(self, tmp_path: Any) -> None:
        path = tmp_path / "r.jsonl"
        path.write_text('{"item": "i", "text": "hi"}\n')
        made = RecordedModel(abbr="m", path=(path,))
        keys = [
            key_of(made),
            key_of(made, turn=1),
            key_of(made, role="grade", models=("a",)),
            key_of(made, role="grade", models=("b",)),
            key_of(made, role="pairwise", models=("a", "b")),
            key_of(made, role="pairwise", models=("b", "a")),
        ]
        assert len(set(keys)) == len(keys)
        assert key_of(RecordedModel(abbr="renamed", path=(path,))) == keys[0]
        path.write_text('{"item": "i", "text": "ho"}\n')
        assert key_of(made) != keys[0]

    def test_a_system_prompt_gives_way_to_the_prompts_own(self) -> None:
        asker = Asker("m", "f", system="declared")
        address = Address("d", "i", "answer", ("m",))
        assert asker.request([Message("user", "hi")], address).messages[0] == Message("system", "declared")
        own = (Message("system", "own"), Message("user", "hi"))
        assert asker.request(own, address).messages == own


class TestCanonical:
    @given(
        st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda c: st.lists(c) | st.dictionaries(TEXT, c))
    )
    def test_is_ascii_and_says_the_same(self, value: Any) -> None:
        assert canonical(value).isascii()
        assert json.loads(canonical(value)) == value

    def test_the_order_of_keys_does_not_matter(self) -> None:
        assert canonical({"b": 1, "a": [2, "é"]}) == canonical({"a": [2, "é"], "b": 1}) == '{"a":[2,"\\u00e9"],"b":1}'

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), [{"a": float("nan")}]])
    def test_numbers_that_json_lacks_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match="Out of range"):
            canonical(value)


class TestCase:
    @given(st.lists(st.builds(answer, TEXT, TEXT), min_size=1, max_size=2).map(tuple))
    def test_swap_is_its_own_inverse(self, answers: tuple[Answer, ...]) -> None:
        case = Case(item(), answers)
        assert case.swap().swap() == case
        assert case.swap().models == case.models[::-1]
        assert case.swap().item is case.item

    def test_swap_exchanges_a_and_b(self) -> None:
        assert [a.texts for a in battle("one", "two").swap().answers] == [("two",), ("one",)]

    @pytest.mark.parametrize(
        ("statuses", "status", "judgeable"),
        [
            (["ok", "ok"], "ok", True),
            (["ok", "truncated"], "truncated", True),
            (["truncated", "ok"], "truncated", True),
            (["ok", "empty"], "empty", False),
            (["filtered"], "filtered", False),
            (["overflow"], "overflow", False),
            (["ok", "error:timeout"], "error:timeout", False),
        ],
    )
    def test_an_answer_is_as_good_as_its_worst_turn(self, statuses: list[str], status: str, judgeable: bool) -> None:
        made = Answer("m", tuple(exchange("text", one) for one in statuses))
        assert (made.status, made.judgeable) == (status, judgeable)

    def test_only_errors_did_not_come_back(self) -> None:
        assert JUDGEABLE < ANSWERED
        assert not any(Response(key="k", status=status).failed for status in ANSWERED)
        assert all(Response(key="k", status=status).failed for status in ("error:timeout", "error:", "", "OK"))


def judgment(**changes: Any) -> Judgment:
    values = {
        "judging": "j",
        "kind": "pairwise",
        "judge": "g",
        "dataset": "d",
        "item": "i",
        "category": "",
        "models": ("a", "b"),
    }
    return Judgment(**{**values, **changes})


class TestJudgment:
    @pytest.mark.parametrize(
        "changes",
        [{"preference": 0.0}, {"preference": 1.0}, {"preference": 0.25, "choice": "B"}, {"score": 0.0}, {"score": -3.0}]
        + [{"unreadable": reason} for reason in UNREADABLE],
    )
    def test_holds_a_reading_or_a_reason(self, changes: dict[str, Any]) -> None:
        made = judgment(**changes)
        assert (made.preference is None and made.score is None) == (made.unreadable is not None)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"preference": 0.5, "unreadable": "no_verdict"},
            {"score": 1.0, "unreadable": "no_verdict"},
            {"choice": "A"},
            {"choice": "A", "unreadable": "no_verdict"},
            {"unreadable": "because"},
            {"unreadable": ""},
            {"preference": 1.01},
            {"preference": -0.01},
            {"preference": math.nan},
            {"score": math.nan},
            {"score": math.inf},
        ],
    )
    def test_holds_not_both_nor_neither_nor_nonsense(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"judgment holds|closed list|preference lies|finite"):
            judgment(**changes)
