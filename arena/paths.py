"""Names that become files and folders."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST = 80


def safe_name(name: str) -> str:
    """A file name for a model or dataset: readable, the same every time, and different for different names.

    Anything but letters, digits, dot, dash and underscore becomes a dash; where that (or length, or case, which some file
    systems fold) could make two names meet, eight digits of the name's hash are added.
    """
    plain = unicodedata.normalize("NFC", name)
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip(".-")[:_LONGEST] or "unnamed"
    if kept == name and kept == kept.lower():
        return kept
    return f"{kept}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
