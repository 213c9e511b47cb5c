"""Names of models and datasets as names of files: safe, distinct and the same every time."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.paths import safe_name

HOSTILE = [
    "", " ", ".", "..", "...", "../x", "../../etc/passwd", "..\\x", "/etc/passwd", "\\\\server\\share", "C:\\x", "C:",
    "a:b", "a:b:$DATA",
    "a/b", "a\\b", "a//b", "a/../b", "~", "~root", "$HOME", "-rf", "--help", "a b", " a", "a ", "a.", "a..", ".a",
    "a\n", "a\x00b", "\x00",
    "a\tb", "a|b", "a?b", "a*b", 'a"b', "a<b>", "a'b", "a;b", "a&b", "a%00b", "%2e%2e%2f", "\u202egnp.exe", "\u200b",
    "\ufeff", "\ud83d",
    "con", "CON", "Con", "nul", "aux", "prn", "com1", "COM9", "lpt1", "con.txt", "nul.tar.gz", "aux.v1", "com¹",
    "conin$", "clock$",
    "A", "a", "GPT-4", "gpt-4", "gpt-4.1", "é", "e\u0301", "E\u0301", "É", "ß", "ss", "SS", "ﬁ", "fi", "İ", "i", "ı",
    "I", "K", "K", "ｋ", "k",
    "模型", "模 型", "Модель", "x" * 80, "x" * 81, "x" * 300, "x" * 300 + "y", "X" * 300, "unnamed", "-", "--", "_",
    "__", "a-", "-a",
    "meta-llama/Llama-3.1-8B", "meta-llama-Llama-3.1-8B", "meta-llama:Llama-3.1-8B", "meta-llama/llama-3.1-8b",
]  # fmt: skip
HOSTILE = list(dict.fromkeys(HOSTILE))
# What a hashed name looks like is a name too.
ECHOES = [safe_name(name) for name in HOSTILE] + [safe_name(name).lower() for name in HOSTILE]
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_safe(name: str) -> bool:
    return (
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) is not None
        and len(name) <= 100
        and not name.endswith(".")
        and RESERVED.fullmatch(name) is None
        and PurePosixPath(name).name == name == PureWindowsPath(name).name
    )


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_one_safe_part_of_a_path(name: str, tmp_path: Path) -> None:
    safe = safe_name(name)
    assert is_safe(safe)
    assert safe_name(name) == safe
    made = tmp_path / safe
    made.write_text("x")
    assert made.resolve().parent == tmp_path.resolve()


def test_different_names_stay_different_even_where_case_is_folded() -> None:
    names = list(dict.fromkeys([*HOSTILE, *ECHOES]))
    assert len({safe_name(name).lower() for name in names}) == len(names)


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4.1-mini", "heron_2", "a", "0", "x" * 80, "unnamed", "k"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


def test_names_stay_readable() -> None:
    assert re.fullmatch("meta-llama-Llama-3.1-8B-[0-9a-f]{8}", safe_name("meta-llama/Llama-3.1-8B"))
    assert re.fullmatch("GPT-4-[0-9a-f]{8}", safe_name("GPT-4"))
    assert re.fullmatch("_con.v2-[0-9a-f]{8}", safe_name("con.v2"))
    assert re.fullmatch("unnamed-[0-9a-f]{8}", safe_name("模型"))


def test_names_are_the_same_on_every_machine() -> None:
    """Folders of earlier runs are found again by them."""
    assert safe_name("") == "unnamed-e3b0c442"
    assert safe_name("../x") == "x-d6b96a97"
    assert safe_name("A") == "A-559aead0"


NAME = st.text(st.sampled_from("aAbB/\\.:-_ éÉ\x00模0") | st.characters(exclude_categories=()), max_size=12)


@settings(max_examples=1_000)
@given(NAME, NAME)
def test_any_two_names_are_safe_and_distinct(one: str, other: str) -> None:
    assert is_safe(safe_name(one))
    if one != other:
        assert safe_name(one).lower() != safe_name(other).lower()
    assert safe_name(safe_name(one)).lower() != safe_name(one).lower() or safe_name(one) == one


@pytest.mark.timeout(60)
def test_a_very_long_name_is_no_burden() -> None:
    assert len(safe_name("../" * 3_000_000)) < 100
