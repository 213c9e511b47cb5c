from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports.table import to_csv, to_md, to_txt
from reports.text import visible

CELL = st.text(st.characters(), max_size=12) | st.text("|\\`*_[]<>&~!# \nab1", max_size=12)
TABLE = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(CELL, min_size=n, max_size=n), st.lists(st.lists(CELL, min_size=n, max_size=n), max_size=5)
    )
)


@given(TABLE)
def test_csv_is_read_back_as_it_was(table: tuple[list[str], list[list[str]]]) -> None:
    headers, rows = table
    assert list(csv.reader(io.StringIO(to_csv(headers, rows), newline=""))) == [headers, *rows]


@given(TABLE)
def test_markdown_shows_every_cell_as_text(table: tuple[list[str], list[list[str]]]) -> None:
    headers, rows = table
    expected = [
        " ".join(visible(c).strip().replace("\t", " ").split(" ")).strip() for row in (headers, *rows) for c in row
    ]
    source = to_md(headers, rows)
    source.encode("utf-8")
    assert _cells(source) == [cell.replace("\ue000", r"\ue000") for cell in expected]


def _cells(source: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    assert [t.type for t in tokens if t.level == 0] == ["table_open", "table_close"]
    cells = [t.children or [] for t in tokens if t.type == "inline"]
    assert all(child.type in ("text", "text_special") or child.content == "<br>" for cell in cells for child in cell)
    return ["".join("\n" if child.type == "html_inline" else child.content for child in cell) for cell in cells]


@given(TABLE)
def test_plain_text_has_a_line_a_row_and_columns_of_one_width(table: tuple[list[str], list[list[str]]]) -> None:
    headers, rows = table
    text = to_txt(headers, rows)
    text.encode("utf-8")
    lines = text.split("\n")
    assert len(lines) == len(rows) + 3
    assert all(_width(line) <= len(lines[1]) for line in lines)


def _width(line: str) -> int:
    drawn = [c for c in line if unicodedata.category(c) not in ("Mn", "Me", "Cf") and not unicodedata.combining(c)]
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in drawn)


def test_plain_text_aligns_numbers_and_wide_characters() -> None:
    text = to_txt(
        ["model", "win rate", "note"], [["heron-2", "64.2%", "a\nb"], ["苍鹭", "5.1%", ""], ["e\u0301", "–", "x"]]
    )
    assert text == (
        "model    win rate  note\n"
        "-------  --------  ----\n"
        "heron-2     64.2%  a↵b\n"
        "苍鹭         5.1%\n"
        "e\u0301               –  x\n"
    )


def test_markdown_leaves_names_readable() -> None:
    rows = [["meta_llama_3", "1,002"], ["a|b", "−3.5"], [r"C:\dir _x_ \|", "12 s"]]
    assert to_md(["model", "n"], rows) == (
        "| model | n |\n| --- | --: |\n| meta_llama_3 | 1,002 |\n| a\\|b | −3.5 |\n| C:\\dir \\_x\\_ \\\\\\| | 12 s |\n"
    )


def test_a_table_without_rows_has_its_headers() -> None:
    assert to_txt(["a", "bc"], []) == "a  bc\n-  --\n"
    assert to_csv(["a", "bc"], []) == "a,bc\n"
    assert to_md(["a", "bc"], []) == "| a | bc |\n| --- | --- |\n"


@pytest.mark.parametrize("write", [to_txt, to_csv, to_md])
def test_rows_of_another_length_are_refused(write: object) -> None:
    assert callable(write)
    with pytest.raises(ValueError, match="row 2 of the table has 1 cells for 2 columns"):
        write(["a", "b"], [["1", "2"], ["3"]])
    with pytest.raises(ValueError, match="at least one column"):
        write([], [])


def test_csv_with_a_lone_surrogate_can_be_written_as_its_docstring_says() -> None:
    assert to_csv(["a"], [["\ud83d"]]).encode("utf-8", "backslashreplace") == b"a\n\\ud83d\n"
