"""CSV: columns `item` and `answer`, or `id` and `prediction`, perhaps `dataset` and `model`; commas, semicolons or tabs.

Every cell is the text that stands there: "NA", "null" and 007 stay what they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from arena.jsonl import BadLine
from arena.recordings.record import Record

_LONGEST_CELL = 2**31 - 1
_WANTED = "columns 'item' and 'answer', or 'id' and 'prediction' (and perhaps 'dataset')"


def records(text: str) -> Iterator[tuple[int, Record | BadLine]]:
    """Pairs of line number (where a row ends, from 1) and record, or the BadLine found there."""
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    csv.field_size_limit(_LONGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            if not row:
                continue
            if header is None:
                header = [name.strip() for name in row]
                _check(header)
            else:
                yield rows.line_num, _row(header, row)
    except BadLine as error:
        yield rows.line_num, error
    except csv.Error as error:
        yield rows.line_num, BadLine(f"no valid CSV: {error}")


def is_table(text: str) -> bool:
    """Whether the first line names the columns of such a table."""
    names = {name.strip(' "\r') for separator in ",;\t" for name in text.partition("\n")[0].split(separator)}
    return bool(names & {"item", "id"}) and bool(names & {"answer", "prediction"})


def _check(header: Sequence[str]) -> None:
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise BadLine(f"the column {repeated[0]!r} is given twice")
    if ("item" in header) == ("id" in header):
        raise BadLine(f"no column (or two) for the item: a table of answers has {_WANTED}")
    if "prediction" in header and "answer" in header and "item" in header:
        raise BadLine("columns 'answer' and 'prediction': take out the one that is not what the model said")
    if "prediction" not in header and "answer" not in header:
        raise BadLine(f"no column for what the model said: a table of answers has {_WANTED}")
    if "id" in header and "prediction" not in header:
        # Files of questions have these columns, and their answers are the right ones.
        raise BadLine("beside 'id', 'answer' is the right answer: call the column of the model's answers 'prediction'")


def _row(header: Sequence[str], row: Sequence[str]) -> Record | BadLine:
    if len(row) != len(header):
        remedy = "quote a text that holds a separator, without a space before the quote"
        return BadLine(f"{len(row)} cells under {len(header)} columns: {remedy}")
    cells = dict(zip(header, row, strict=True))
    item = cells.get("item", cells.get("id", "")).strip()
    if not item:
        return BadLine("a row without the id of an item")
    said = cells["prediction"] if "prediction" in cells else cells["answer"]
    dataset, model = (cells.get(name, "").strip() for name in ("dataset", "model"))
    return Record(texts=(said,), item=item, dataset=dataset or None, model=model)
