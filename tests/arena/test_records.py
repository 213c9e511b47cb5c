"""Nouns as the store's rows: whatever text they hold comes back unchanged."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.records import decode, encode, item_json, read_item, read_messages, request_json
from judge.types import Address, Choice, Image, Item, Message, Request, Sampling

RAW = st.text(st.characters(exclude_categories=()), max_size=6) | st.sampled_from(
    ["", "\x00", "a\x00b", "\ud83d", "\ud83d\ude00", "NA", "None", "null", "007", "=1+1", "x'00'", "\u2028", "\ufeff"]
)
# JSON has one spelling for a character beyond U+FFFF and for its two halves side by side: there they are one text.
TEXT = RAW.map(lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=6,
)
IMAGES = st.lists(st.builds(Image, TEXT, TEXT, TEXT), max_size=2).map(tuple)
ITEM = st.builds(
    Item,
    dataset=TEXT,
    id=TEXT,
    turns=TEXTS,
    category=TEXT,
    language=TEXT,
    reference=TEXTS,
    choices=st.lists(st.builds(Choice, TEXT, TEXT), max_size=2).map(tuple),
    gold=TEXTS,
    match=st.sampled_from(["", "number", "choice", "text"]),
    metadata=st.dictionaries(TEXT, JSON, max_size=2),
    images=IMAGES,
)


@given(RAW)
def test_any_text_comes_back_from_sqlite(text: str) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (text NOT NULL)")
    db.execute("INSERT INTO t VALUES (?)", (encode(text),))
    (kept,) = db.execute("SELECT text FROM t").fetchone()
    db.close()
    assert decode(kept) == text


@pytest.mark.parametrize(
    ("text", "kind"), [("plain", str), ("é中😀", str), ("", str), ("a\x00", bytes), ("\ud83d", bytes)]
)
def test_only_what_sqlites_text_cannot_hold_is_kept_as_bytes(text: str, kind: type) -> None:
    assert type(encode(text)) is kind


def test_null_is_no_text() -> None:
    assert decode(None) == ""


@given(ITEM)
def test_an_item_comes_back_equal(item: Item) -> None:
    body = item_json(item)
    assert body.isascii()
    found = read_item(body)
    assert found == item
    for name in ("turns", "reference", "choices", "gold", "images"):
        assert type(getattr(found, name)) is tuple


def test_an_item_with_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        item_json(Item(dataset="d", id="i", turns=("q",), metadata={"x": float("nan")}))


@given(
    st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT, IMAGES), max_size=3).map(tuple),
    st.builds(Sampling, temperature=st.none() | st.floats(0, 2), seed=st.none() | st.integers(), stop=TEXTS),
    TEXT,
    TEXT,
)
def test_a_request_is_kept_with_all_its_key_is_made_of(
    messages: Any, sampling: Sampling, prompt: str, continuation: str
) -> None:
    address = Address("d", "i", "answer", ("m",))
    request = Request("m", "identity", messages, sampling, address, prompt=prompt, sample=2, continuation=continuation)
    text = request_json(request)
    assert text.isascii()
    raw = json.loads(text)
    again = Request(
        model="other",
        identity=raw["identity"],
        messages=read_messages(text),
        sampling=Sampling(**{**raw["sampling"], "stop": tuple(raw["sampling"]["stop"])}),
        address=request.address,
        prompt=raw["prompt"],
        sample=raw["sample"],
        continuation=raw.get("continuation", ""),
    )
    assert again.key == request.key
