"""Reading JSON Lines: every bad line with its number, every good value unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.jsonl import BadFile, BadLine, parse, parse_object, read_jsonl


def lines(path: Path, content: bytes | str) -> list[tuple[int, Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return [(number, str(raw) if isinstance(raw, BadLine) else raw) for number, raw in read_jsonl(path)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.jsonl"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"a": 1}\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"a": 1}\r\n{"a": 2}\r\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ('\n \t\n{"a": 1}\n\r\n\n{"a": 2}\n\n', [(3, {"a": 1}), (6, {"a": 2})]),
        ('\ufeff{"a": 1}\n', [(1, {"a": 1})]),
        ('{"a": "one\u2028two\u2029three\x85four"}\n', [(1, {"a": "one\u2028two\u2029three\x85four"})]),
        ('{"a": "\\ud83d"}\n', [(1, {"a": "\ud83d"})]),
        ('{"a": "\\ud83d\\ude00"}\n', [(1, {"a": "😀"})]),
        ('{"a": "\\u0000"}\n', [(1, {"a": "\x00"})]),
        ('{"": {"b": [true, null, 1.5, -0.0, 1e5]}}', [(1, {"": {"b": [True, None, 1.5, -0.0, 1e5]}})]),
        ('{"a": {"x": 1}, "b": {"x": 1}}', [(1, {"a": {"x": 1}, "b": {"x": 1}})]),
        ('{"n": 12345678901234567890123}', [(1, {"n": 12345678901234567890123})]),
        ("", []),
        ("\n\n", []),
        ("\ufeff", []),
    ],
)
def test_good_lines(file: Path, content: str, expected: list[tuple[int, Any]]) -> None:
    assert lines(file, content) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no valid JSON: .* at character 2"),
        ("{'a': 1}", "no valid JSON"),
        ('{"a": 1,}', "no valid JSON"),
        ('{"a": 1} {"a": 2}', "no valid JSON: Extra data at character 10"),
        ('{"a": "tab\there"}', "no valid JSON: Invalid control character"),
        ('{"a": "\x00"}', "no valid JSON: Invalid control character"),
        ('{"a": 01}', "no valid JSON"),
        ('{"a": ٣}', "no valid JSON"),
        ("[1]", "a JSON object is wanted here, not list"),
        ('"text"', "a JSON object is wanted here, not str"),
        ("null", "a JSON object is wanted here, not NoneType"),
        ("1", "a JSON object is wanted here, not int"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a": 1, "\\u0061": 2}', "the key 'a' is given twice"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' is given twice"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a": Infinity}', "Infinity is no JSON value"),
        ('{"a": -Infinity}', "-Infinity is no JSON value"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": -1e999}', "the number -1e999 is too large"),
        ('{"a": ' + "1" * 5000 + "}", "the number 1{20}... is too large"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', r"no UTF-8 \(byte 8\): save the file as UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "no UTF-8"),
        ('{"a": "中"}'.encode("gbk"), "no UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "no UTF-8"),
        ('{"a": "\ud83d"}', "no UTF-8"),  # half a pair as raw bytes is no UTF-8, unlike \ud83d written out
    ],
)
def test_a_bad_line_is_told_and_the_next_is_read(file: Path, content: str | bytes, said: str) -> None:
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (first, bad), *rest = lines(file, raw + b'\n{"a": 1}\n')
    assert first == 1
    assert isinstance(bad, str)
    assert len(bad) < 200
    with pytest.raises(BadLine, match=said):
        raise BadLine(bad)
    if not raw.startswith(b"\xff\xfe"):
        assert rest == [(2, {"a": 1})]


def test_a_mark_of_byte_order_belongs_at_the_beginning_only(file: Path) -> None:
    (_, good), (_, bad) = lines(file, '{"a": 1}\n\ufeff{"a": 2}\n')
    assert good == {"a": 1}
    assert "no valid JSON" in bad


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None], ids=["folder", "nothing"])
def test_what_is_no_file_is_told_with_its_path(file: Path, make: Any) -> None:
    make(file)
    with pytest.raises(BadFile, match=rf"{file}: can't be read: ") as caught:
        list(read_jsonl(file))
    assert caught.value.problems == [str(caught.value)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=4), st.booleans(), st.booleans())
def test_what_json_writes_is_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], windows: bool, mark: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.jsonl"
    text = ("\r\n" if windows else "\n").join(map(json.dumps, values))
    found = lines(path, ("\ufeff" if mark else "") + text)
    assert found == list(enumerate(values, 1))
    assert [type(v) for _, raw in found for v in raw.values()] == [type(v) for raw in values for v in raw.values()]


@given(st.text())
def test_any_text_is_a_value_or_a_bad_line(text: str) -> None:
    for read in (parse, parse_object):
        try:
            read(text)
        except BadLine as error:
            said = str(error)
        else:
            said = "read"
        assert said
