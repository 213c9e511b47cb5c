"""The valid name that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy to append to an error: "; did you mean 'x'?", or the known names where none is close."""
    names = sorted(known)
    lowered = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {lowered[close[0]]!r}?"
    if not names:
        return ""
    return "; known: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
