"""Pictures of items: found and checked when the items are read, and turned into data URLs when they are sent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from arena.jsonl import BadLine
from judge.types import Image

LARGEST_BYTES = 20_000_000
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_KINDS = "png, jpeg, gif, webp"
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=]+)", re.IGNORECASE)


def media_type(content: bytes) -> str | None:
    """The kind of picture that these bytes begin, whatever its file is called; None for what is none of the four."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)


def read_image(source: object, folder: Path) -> Image:
    """The picture behind a path (relative to `folder`), an http(s) URL or a data URL. Raises BadLine.

    What a URL shows is not looked at: the model's server fetches it.
    """
    if not isinstance(source, str) or not source.strip():
        raise BadLine(f"images are paths or URLs, not {source!r}")
    if re.match(r"https?://[^/\s]+", source, re.IGNORECASE):
        return Image(source)
    if source[:5].lower() == "data:":
        return _of_data(source)
    path = folder / source
    try:
        content = _bytes(path)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise BadLine(f"image {source!r}: {told} (paths are relative to the file of items: {path})") from None
    return _checked(content, str(path.resolve()), f"image {source!r}")


def _of_data(url: str) -> Image:
    match = _DATA.fullmatch(url)
    try:
        content = base64.b64decode(match[2], validate=True) if match else b""
    except binascii.Error:
        content = b""
    if not content:
        raise BadLine(f"image {url[:40]!r}...: a data URL looks like data:image/png;base64,iVBOR...")
    return _checked(content, url, f"image {url[:40]!r}...")


def _checked(content: bytes, source: str, where: str) -> Image:
    kind = media_type(content)
    if kind is None:
        raise BadLine(f"{where} begins like no picture that models take ({_KINDS})")
    if len(content) > LARGEST_BYTES:
        raise BadLine(f"{where} has more than {LARGEST_BYTES // 10**6} MB: make it smaller")
    return Image(source, hashlib.sha256(content).hexdigest(), kind)


def _bytes(path: Path) -> bytes:
    """At most one byte more than is allowed."""
    with path.open("rb") as file:
        return file.read(LARGEST_BYTES + 1)


class ImageGone(Exception):
    """A picture's file is not there any more, or holds another picture than when the items were read."""


@lru_cache(maxsize=16)
def url_of(image: Image) -> str:
    """The URL as it was given, or the file's bytes as a data URL. Raises ImageGone."""
    if not image.sha256 or image.source[:5].lower() == "data:":
        return image.source
    try:
        content = _bytes(Path(image.source))
    except OSError as error:
        raise ImageGone(f"{image.source}: {error.strerror}: put it back, or start a new run") from None
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise ImageGone(f"{image.source} is another picture than when the items were read: start a new run")
    return f"data:{image.media_type};base64,{base64.b64encode(content).decode('ascii')}"


def shown_name(image: Image) -> str:
    """What a person knows a picture by: the file's name, the URL, or the beginning of its hash."""
    if image.source[:5].lower() == "data:":
        return f"{image.media_type} {image.sha256[:12]}"
    return Path(image.source).name if image.sha256 else image.source
