"""FastChat's and Arena-Hard's `model_answer/<model>.jsonl`.

FastChat: `{"question_id": 81, "model_id": "m", "choices": [{"index": 0, "turns": ["...", "..."]}]}`. Arena-Hard puts
`{"content": "..."}` in the place of a turn and, since its version 2, writes `{"uid": "...", "model": "m", "messages": [...]}`
with the answer as the content of the assistant's messages, or as its key "answer".
"""

from __future__ import annotations

import reprlib
from typing import Any

from arena.jsonl import BadLine
from arena.recordings.record import Record, identity, text_of


def record(raw: dict[str, Any]) -> Record:
    """The record of a line. Raises BadLine; several choices (samples) of one answer are refused, not chosen from."""
    if "messages" in raw:
        said = _messages(raw["messages"])
        return Record(texts=said, item=identity(raw, "uid"), model=text_of(raw, "model", ""))
    item, choices = identity(raw, "question_id"), raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadLine("an answer has 'choices': [{'turns': [...]}]")
    if len(choices) > 1:
        raise BadLine(f"{len(choices)} choices, and one answer is wanted: keep one of them")
    turns = choices[0].get("turns")
    if not isinstance(turns, list) or not turns:
        raise BadLine(f"'turns' is a list of texts, not {reprlib.repr(turns)}")
    return Record(texts=tuple(_said(turn, "content") for turn in turns), item=item, model=text_of(raw, "model_id", ""))


def _messages(messages: Any) -> tuple[str, ...]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadLine("'messages' is a list of {'role': ..., 'content': ...}")
    said = [_said(message.get("content"), "answer") for message in messages if message.get("role") == "assistant"]
    if not said:
        raise BadLine("'messages' holds nothing of the assistant")
    return tuple(said)


def _said(value: Any, key: str) -> str:
    text = value.get(key) if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise BadLine(f"an answer is a text, or an object with the text under {key!r}, not {reprlib.repr(value)}")
    return text
