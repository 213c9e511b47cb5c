"""How many tokens a text has, guessed where no tokenizer is at hand. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from judge.types import Message

_A_MESSAGE = 4
"""Tokens that a chat format puts around each message."""
_FIRST_WIDE = "\u2e80"
"""From here on: Chinese, Japanese, Korean and emoji, some one token a character."""


def guessed_tokens(messages: Iterable[Message]) -> int:
    """Characters by four, wide ones (Chinese, Japanese, Korean) one each, and 4 a message."""
    return sum(_A_MESSAGE + guessed_of(message.content) for message in messages)


def guessed_of(text: str) -> int:
    """The guess for one text, rounded up."""
    wide = 0 if text.isascii() else sum(character >= _FIRST_WIDE for character in text)
    return wide + -(-(len(text) - wide) // 4)
