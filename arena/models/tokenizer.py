"""A model's own tokenizer, to count tokens before they are bought. It is read without the library that runs models."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from arena.jsonl import BadFile
from arena.models.spec import ModelSpec, OpenAIModel
from arena.models.weights import cached_snapshot
from arena.tokens import Count


def counter(spec: ModelSpec) -> Count | None:
    """Counts as the tokenizer of a model does: the one its declaration names, or that lies beside its weights. None without one.

    Raises BadFile where a server's model names one that can't be read. Nothing is downloaded.
    """
    place: str | None = getattr(spec, "tokenizer_path", None) or getattr(spec, "path", None)
    if not isinstance(place, str):
        return None
    file = _tokenizer_file(place, spec.revision if place == getattr(spec, "path", None) else "")
    if find_spec("tokenizers") is None:
        remedy = "pip install 'arena[tokens]'"
    elif file is None:
        remedy = "name a tokenizer.json, its folder, or a hub name that is downloaded (hf download NAME tokenizer.json)"
    else:
        return _counter(file)
    if isinstance(spec, OpenAIModel):
        raise BadFile([f"model {spec.abbr!r}: can't count tokens by tokenizer_path {place}: {remedy}"])
    return None


def _tokenizer_file(place: str, revision: str) -> Path | None:
    """The `tokenizer.json` of a folder, of a name in the hub's cache, or the file itself."""
    path = Path(place)
    folder = path if path.exists() else cached_snapshot(place, revision)
    if folder is None:
        return None
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    return file if file.is_file() else None


@lru_cache(maxsize=32)
def _counter(file: Path) -> Count:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise BadFile([f"{file}: no tokenizer that can be read: {error}"]) from None

    def count(text: str) -> int:
        # Half a surrogate pair is sent as U+FFFD, and the tokenizer takes no other text.
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return len(tokenizer.encode(whole, add_special_tokens=False).ids)

    return count
