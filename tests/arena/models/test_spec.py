"""Declarations of models: secrets stay in the environment, and what is declared is what is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from arena.models.spec import ModelSpec, OpenAIModel, Price, RecordedModel

SECRET = "sk-canary-7f3a/9c+2b="


def declared(**values: Any) -> OpenAIModel:
    return OpenAIModel.model_validate({"abbr": "m", "model": "small-1", **values})


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        declared(**values)
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(problem["msg"] for problem in caught.value.errors())
    return str(caught.value)


class TestSecrets:
    @pytest.mark.parametrize(
        "url",
        [
            f"https://user:{SECRET}@host/v1",
            f"https://{SECRET}@host/v1",
            f"http://:{SECRET}@127.0.0.1:8000/v1",
            "https://user@host/v1",
            "https://@host/v1",
            f"//user:{SECRET}@host/v1",
            f"user:{SECRET}@host/v1",
            f"HTTPS://USER:{SECRET}@HOST/v1",
        ],
    )
    def test_a_url_holds_no_user(self, url: str) -> None:
        said = refused(base_url=url)
        assert "api_key_env" in said
        assert "take them out" in said

    @pytest.mark.parametrize("name", ["key", "api_key", "api-key", "access_token", "Token", "sig_secret", "password"])
    def test_a_url_holds_no_secret_parameter(self, name: str) -> None:
        said = refused(base_url=f"https://host/v1?api-version=1&{name}={SECRET}")
        assert name in said
        assert "api_key_env" in said

    @pytest.mark.parametrize(
        "url",
        ["https://api.openai.com/v1", "http://127.0.0.1:8000/v1/", "http://[::1]:8000/v1", "https://host/v1/accounts/@me",
         "https://host/openai/deployments/x?api-version=2024-06-01", "not a url"],
    )  # fmt: skip
    def test_other_urls_are_taken(self, url: str) -> None:
        assert declared(base_url=url).base_url == url

    def test_a_url_that_cannot_be_parsed_is_told(self) -> None:
        assert "is no URL (Invalid IPv6 URL); write http://HOST:PORT/v1" in refused(base_url="http://u:p@[::1")

    @pytest.mark.parametrize(
        "name",
        ["Authorization", "authorization", "PROXY-AUTHORIZATION", "X-Api-Key", "api-key", "x-goog-api-key",
         "X-Auth-Token", "TOKEN",
         "X-Client-Secret", "Cookie", "set-cookie", "X-Password", "Ocp-Apim-Subscription-Key"],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "value", [SECRET, f"Bearer {SECRET}", "", "$", "$1", "${MY_KEY}", "$MY_KEY x", f"$MY_KEY{SECRET}"]
    )
    def test_a_header_that_holds_secrets_names_a_variable(self, name: str, value: str) -> None:
        said = refused(headers={name: value})
        assert f"{name!r} holds a secret: write $NAME and set that variable" in said

    @pytest.mark.parametrize("key", [SECRET, "sk-proj-abc", "a b", "$MY_KEY", "1KEY", "KEY=1", "é"])
    def test_api_key_env_is_a_name_and_not_the_key(self, key: str) -> None:
        assert "is the name of an environment variable, not the key itself" in refused(api_key_env=key)

    def test_no_variable_at_all_may_be_named(self) -> None:
        assert declared(api_key_env="").api_key_env == ""

    def test_headers_are_resolved_when_they_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = declared(
            headers={
                "Authorization": "Bearer $MY_KEY",
                "X-Api-Key": "$MY_KEY",
                "X-Team": "$TEAM",
                "X-Plain": "costs $5 or $",
            }
        )
        monkeypatch.setenv("MY_KEY", SECRET)
        monkeypatch.setenv("TEAM", "blue")
        assert made.resolved_headers() == {
            "Authorization": f"Bearer {SECRET}",
            "X-Api-Key": SECRET,
            "X-Team": "blue",
            "X-Plain": "costs $5 or $",
        }
        monkeypatch.setenv("MY_KEY", "changed")
        assert made.resolved_headers()["X-Api-Key"] == "changed"
        for shown in (repr(made), made.model_dump_json(), json.dumps(made.model_dump(mode="json")), made.fingerprint()):
            assert SECRET not in shown
            assert "changed" not in shown

    @pytest.mark.parametrize("value", [None, ""])
    def test_a_variable_that_is_not_set_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        monkeypatch.delenv("MY_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(
            ValueError, match=r"model 'm': header 'X-Api-Key' wants the environment variable MY_KEY: set it"
        ):
            declared(headers={"X-Api-Key": "$MY_KEY"}).resolved_headers()

    @pytest.mark.parametrize("tail", ["\n", "\r\nX-Evil: 1", "é", "\x7f"])
    def test_a_variable_that_no_header_can_carry_is_named_and_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, tail: str
    ) -> None:
        monkeypatch.setenv("MY_KEY", SECRET + tail)
        with pytest.raises(
            ValueError, match="the environment variable MY_KEY holds what no HTTP header can carry"
        ) as caught:
            declared(headers={"X-Api-Key": "$MY_KEY"}).resolved_headers()
        assert SECRET not in str(caught.value)


class TestValues:
    @pytest.mark.parametrize(
        "values",
        [
            {"abbr": ""},
            {"model": ""},
            {"model": None},
            {"model": 5},
            {"temperature": -0.1},
            {"temperature": float("nan")},
            {"temperature": float("inf")},
            {"temperature": True},
            {"temperature": "warm"},
            {"top_p": 0},
            {"top_p": 1.1},
            {"max_out_len": 0},
            {"max_out_len": 1.5},
            {"max_out_len": True},
            {"seed": True},
            {"seed": "x"},
            {"stop": "text"},
            {"stop": [1]},
            {"retry": -1},
            {"retry": True},
            {"max_num_workers": 0},
            {"timeout_s": 0},
            {"timeout_s": float("inf")},
            {"logprobs": 21},
            {"max_tokens_field": "tokens"},
            {"price": 5},
            {"price": {"input": 1}},
            {"price": {"input": -1, "output": 1}},
            {"price": {"input": float("nan"), "output": 1}},
            {"price": {"input": 1, "output": 1, "outputs": 1}},
            {"headers": ["x"]},
            {"headers": {"X-Unit": 5}},
            {"extra_body": [1]},
            {"extra_body": {"x": float("nan")}},
            {"extra_body": {"x": [float("inf")]}},
            {"extra_body": {"x": {1, 2}}},
            {"extra_body": {"x": b"bytes"}},
            {"system_prompt": "half \ud83d"},
            {"abbr": "half \ud83d"},
            {"temprature": 1},
            {"backend": "recorded"},
        ],
        ids=str,
    )
    def test_what_is_no_value_is_refused(self, values: dict[str, Any]) -> None:
        refused(**values)

    def test_extra_body_is_what_json_makes_of_it(self) -> None:
        body = {"b": {1: (2, None)}, "a": [True, 1e-9, "é\x00"]}
        made = declared(extra_body=body)
        assert made.extra_body == {"b": {"1": [2, None]}, "a": [True, 1e-9, "é\x00"]}
        assert list(made.extra_body) == ["b", "a"], (
            "the order of a JSON schema's fields is the order in which they are written"
        )
        assert OpenAIModel.model_validate(json.loads(made.model_dump_json())) == made

    def test_a_price_may_be_unknown_but_not_guessed(self) -> None:
        assert declared().price is None
        assert declared(price={"input": 0, "output": 0}).price == Price(input=0, output=0)

    def test_the_backend_decides_the_class_and_openai_is_meant_without_one(self, tmp_path: Path) -> None:
        (tmp_path / "r.jsonl").touch()
        adapter: TypeAdapter[Any] = TypeAdapter(ModelSpec)
        recorded = adapter.validate_python({"backend": "recorded", "abbr": "m", "path": str(tmp_path / "r.jsonl")})
        assert isinstance(recorded, RecordedModel)
        assert isinstance(adapter.validate_python({"backend": "openai", "abbr": "m", "model": "x"}), OpenAIModel)
        assert isinstance(adapter.validate_python({"abbr": "m", "model": "x"}), OpenAIModel)
        assert adapter.validate_python(recorded) is recorded
        with pytest.raises(ValidationError):
            adapter.validate_python({"backend": "vlm", "abbr": "m"})


class TestRecorded:
    def test_one_file_or_several(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("1")
        (tmp_path / "b.jsonl").write_text("2")
        one = RecordedModel.model_validate({"abbr": "m", "path": str(tmp_path / "a.jsonl")})
        two = RecordedModel.model_validate({"abbr": "m", "path": [tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")]})
        assert one.path == (tmp_path / "a.jsonl",)
        assert two.path == (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
        assert one.fingerprint() != two.fingerprint()

    def test_the_fingerprint_is_the_content(self, tmp_path: Path) -> None:
        for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
            (tmp_path / name).write_text(content)
        a, b, c = (RecordedModel(abbr=name, path=(tmp_path / name,)) for name in "abc")
        assert a.fingerprint() == b.fingerprint() != c.fingerprint()
        assert a.fingerprint() != a.model_copy(update={"revision": "2"}).fingerprint()

    @pytest.mark.parametrize("path", [[], "", "gone.jsonl", ".", 5, None, ["a", 5], "\x00", "x" * 5000, {"a": 1}])
    def test_what_is_no_file_is_refused(self, path: Any) -> None:
        with pytest.raises(ValidationError):
            RecordedModel.model_validate({"abbr": "m", "path": path})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {"abbr": TEXT.filter(bool), "model": TEXT.filter(bool)},
        optional={
            "extra_body": st.dictionaries(TEXT, JSON, max_size=2),
            "headers": st.dictionaries(st.sampled_from(["X-A", "x-a", "B"]), TEXT, max_size=3),
            "temperature": st.floats(0, 2),
            "seed": st.integers(),
            "stop": st.lists(TEXT, max_size=2),
            "system_prompt": TEXT,
            "revision": TEXT,
            "price": st.fixed_dictionaries({"input": st.floats(0, 100), "output": st.integers(0, 100)}),
        },
    )
)
def test_a_declaration_comes_back_from_json_as_the_same_model(values: dict[str, Any]) -> None:
    made = OpenAIModel.model_validate(values)
    again = OpenAIModel.model_validate(json.loads(json.dumps(made.model_dump(mode="json"))))
    assert again == made
    assert again.fingerprint() == made.fingerprint()
    assert again.sampling() == made.sampling()
