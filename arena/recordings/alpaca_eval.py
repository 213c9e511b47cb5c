"""AlpacaEval's `model_outputs.json`: a list of `{"instruction", "output", "generator"}`, without ids."""

from __future__ import annotations

from typing import Any

from arena.jsonl import BadLine
from arena.recordings.record import Record, text_of


def record(raw: Any) -> Record:
    """The record of one output. Raises BadLine."""
    if not isinstance(raw, dict):
        raise BadLine(f"an output is an object with 'instruction' and 'output', not {type(raw).__name__}")
    question = text_of(raw, "instruction")
    if not question.strip():
        raise BadLine("'instruction' is empty: nothing tells which item was answered")
    return Record(texts=(text_of(raw, "output"),), question=question, model=text_of(raw, "generator", ""))
