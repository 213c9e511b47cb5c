"""The code blocks of a Markdown page, and what the documentation means by them.

- `bash`: run, one after another, in one new folder a page, each stopping at its first failure.
- `text` right after a `bash` block: its output (both streams), of which lines may be left out where `...` stands. Run
  names (times) and the width of gaps may differ, nothing else.
- `yaml` and `python` whose first line is a comment with a file name (`# run.yaml`): saved under it.
- everything else (`sh`, `text` on its own, `json`): shown only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.(?:yaml|py))\n")
_RUN = re.compile(r"\d{8}_\d{6}(_\d+)?")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, text and line; `output` is the `text` block that follows a `bash` block, or None."""

    language: str
    text: str
    line: int
    output: str | None = None

    @property
    def file(self) -> str | None:
        """The name the block is to be saved under."""
        named = _FILE.match(self.text)
        return named[1] if named and self.language in ("yaml", "python") else None


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page from top to bottom, outputs attached to their commands."""
    source = page.read_text("utf-8")
    found = list(_FENCE.finditer(source))
    for at, match in enumerate(found):
        after = found[at + 1] if at + 1 < len(found) else None
        follows = after is not None and not source[match.end() : after.start()].strip()
        output = after[2] if after is not None and follows and (match[1], after[1]) == ("bash", "text") else None
        yield Block(match[1], match[2], source.count("\n", 0, match.start()) + 2, output)


def difference(expected: str, actual: str) -> str | None:
    """Why `actual` is not what a page shows, or None."""
    lines = [line for line in map(_plain, actual.split("\n")) if line]
    at, gap = 0, False
    for wanted in filter(None, map(_plain, expected.split("\n"))):
        if wanted == "...":
            gap = True
            continue
        if gap:
            at = next((n for n in range(at, len(lines)) if lines[n] == wanted), len(lines))
        if at >= len(lines) or lines[at] != wanted:
            there = lines[at] if at < len(lines) else "the end"
            return f"the page shows {wanted!r}, the program wrote {there!r}"
        at, gap = at + 1, False
    return None if gap or at == len(lines) else f"the program went on with {lines[at]!r}"


def _plain(line: str) -> str:
    return _RUN.sub("RUN", re.sub(r"\s+", " ", line).strip())
