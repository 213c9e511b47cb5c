"""A table of strings as plain text, CSV or Markdown: what a run writes as its summary beside the report."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence

from reports.text import visible, visible_name

_NUMBER = re.compile(r"[-+−]?[0-9][0-9,.]*( ?[%s])?")
_EMPTY = frozenset({"", "-", "–", "—"})
_BREAK = (
    "\ue000"  # stands for a line break between escaping and output: a private character, removed from the text first
)


def to_txt(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal, numbers to the right. Wide characters count as two columns, combining ones as none.

    A line break within a cell is shown as ↵, other controls as escapes. Raises ValueError where a row has another number
    of cells than there are headers.
    """
    _check(headers, rows)
    table = [[visible_name(cell) for cell in row] for row in (headers, *rows)]
    right = _numeric(rows, len(headers))
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            _pad(cell, width, to_right) for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def to_csv(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """CSV with `\\n` between rows; Python's `csv` module reads back every text as it was (open with `newline=""`).

    Nothing is altered: a cell that starts with `=` is a formula to a spreadsheet program. A lone surrogate cannot be
    encoded: write the file with `errors="backslashreplace"`, which turns it into text. Raises ValueError as `to_txt`.
    """
    _check(headers, rows)
    return "".join(map(_csv_line, [headers, *rows]))


def to_md(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown: cells show their text and nothing else, whatever markup it looks like.

    Line breaks become <br>, controls escapes. Raises ValueError as `to_txt`.
    """
    _check(headers, rows)
    rule = ["--:" if to_right else "---" for to_right in _numeric(rows, len(headers))]
    lines = [[_md(cell) for cell in headers], rule, *([_md(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _csv_line(row: Sequence[str]) -> str:
    # The writer quotes the characters of its own line end only: with "\n" a lone CR would stay bare and be lost.
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(row)
    return out.getvalue().removesuffix("\r\n") + "\n"


def _check(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not headers:
        raise ValueError("a table needs at least one column")
    for number, row in enumerate(rows, 1):
        if len(row) != len(headers):
            raise ValueError(f"row {number} of the table has {len(row)} cells for {len(headers)} columns")


def _numeric(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """For each column, whether it holds numbers, and nothing else but blanks and dashes."""
    cells = [[row[column].strip() for row in rows] for column in range(columns)]
    return [
        any(_NUMBER.fullmatch(cell) for cell in column)
        and all(cell in _EMPTY or _NUMBER.fullmatch(cell) for cell in column)
        for column in cells
    ]


def _width(text: str) -> int:
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pad(cell: str, width: int, to_right: bool) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if to_right else cell + blanks


def _md(cell: str) -> str:
    text = visible(cell).strip().replace(_BREAK, ascii(_BREAK)[1:-1]).replace("\n", _BREAK).replace("\t", " ")
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    # A backslash counts only before punctuation, an underscore not within a word: names stay readable as they are.
    text = re.sub(r"\\(?=[^\w\s]|_)|[`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return text.replace(_BREAK, "<br>")
