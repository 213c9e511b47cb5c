"""Names that become files and folders."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

DEFAULT_WORK_DIR = Path("outputs/default")

_LONGEST = 80
# Windows takes these for devices, with any ending.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_HASHED = re.compile(r".*-[0-9a-f]{8}", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A file name for a model or dataset: readable, the same every time, and different for different names.

    Anything but ASCII letters, digits, dot, dash and underscore becomes a dash; where that (or length, or case, which some
    file systems fold) could make two names meet, eight digits of the name's hash are added; so they are to a name that
    ends as if they had been. A name that Windows keeps for a device gets an underscore in front.
    """
    plain = unicodedata.normalize("NFC", name)
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip(".-")[:_LONGEST] or "unnamed"
    if _RESERVED.fullmatch(kept):
        kept = f"_{kept}"
    if kept == name and kept == kept.lower() and not _HASHED.fullmatch(kept):
        return kept
    return f"{kept}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
