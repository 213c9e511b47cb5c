"""How many tokens messages have, and a guess for texts where no tokenizer is at hand. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from judge.types import Message

Count = Callable[[str], int]
"""The tokens of a text."""

_A_MESSAGE = 4
"""Tokens that a chat format puts around each message."""
_AN_IMAGE = 1500
"""Tokens of a picture of some megapixels; models differ by a factor of ten, and a store that has seen replies sets it right."""
_FIRST_WIDE = "\u2e80"
"""From here on: Chinese, Japanese, Korean and emoji, some one token a character."""


def tokens_of(messages: Iterable[Message], count: Count) -> int:
    """The tokens of the contents, 4 a message, and 1,500 a picture."""
    return sum(_A_MESSAGE + count(message.content) + _AN_IMAGE * len(message.images) for message in messages)


def guessed_of(text: str) -> int:
    """Characters by four, wide ones (Chinese, Japanese, Korean) one each, rounded up."""
    wide = 0 if text.isascii() else sum(character >= _FIRST_WIDE for character in text)
    return wide + -(-(len(text) - wide) // 4)
