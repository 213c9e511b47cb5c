"""What identifies the weights behind a path: the bytes of a folder, or the commit of a name on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from arena.jsonl import BadFile
from judge.types import digest

# What training leaves beside the weights, and what is written for people: never loaded.
_IDLE = re.compile(
    r"\..*|.*\.(md|png|jpg|pdf)|(optimizer|scheduler|rng_state|trainer_state|training_args).*", re.IGNORECASE
)
# Other states of the same weights, which training leaves there and goes on writing.
_OTHER_STATES = re.compile(r"checkpoint-\d+")
_OF_A_MODEL = ("config.json", "tokenizer_config.json", "tokenizer.json", "generation_config.json")
_LONGEST_PATH = 4096
_COMMIT = re.compile(r"[0-9a-f]{40}")


def weights_digest(path: str, revision: str) -> str:
    """Changes whenever the files of a folder do, in name or in content; for a name, its commit. Raises BadFile."""
    if os.path.isdir(path):
        return _folder_digest(Path(path))
    return digest(["hub", path, hub_commit(path, revision)])


def named_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """A digest of every file or folder of a model that settings name (a chat template, a tokenizer, a draft model), by its path:
    what they hold may change while the path stays. Raises BadFile.
    """
    return {text: found for text in sorted(set(_texts(settings))) if (found := _content(text))}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _content(text: str) -> str:
    """ "" for what is no path, and for folders that are no model's: all of a disk may be allowed for pictures."""
    path = os.path.expanduser(text)
    if not ("/" in text or "." in text) or len(text) > _LONGEST_PATH or "\0" in text:
        return ""
    if os.path.isfile(path):
        try:
            return _file_digest(Path(path))
        except OSError as error:
            raise BadFile([f"{path}: can't be read: {error.strerror}"]) from None
    return _folder_digest(Path(path)) if any(os.path.isfile(os.path.join(path, name)) for name in _OF_A_MODEL) else ""


def _folder_digest(folder: Path) -> str:
    files = []
    seen = {os.path.realpath(folder)}  # a link to a folder above would be walked without end
    for where, folders, names in os.walk(folder, followlinks=True):
        there = {name: os.path.realpath(os.path.join(where, name)) for name in sorted(folders)}
        folders[:] = [
            name
            for name, real in there.items()
            if not (real in seen or _IDLE.fullmatch(name) or _OTHER_STATES.fullmatch(name))
        ]
        seen.update(there[name] for name in folders)
        files += [Path(where, name) for name in sorted(names) if not _IDLE.fullmatch(name)]
    files = [path for path in files if path.is_file() or path.is_symlink()]  # no pipes, which would be waited for
    if not files:
        raise BadFile([f"{folder}: an empty folder, where a model's config and weights should be"])
    try:
        with ThreadPoolExecutor(min(8, len(files))) as pool:
            contents = list(pool.map(_file_digest, files))
    except OSError as error:
        raise BadFile([f"{error.filename}: can't be read: {error.strerror}"]) from None
    return digest(
        [[path.relative_to(folder).as_posix(), content] for path, content in zip(files, contents, strict=True)]
    )


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *_state: int) -> str:
    """The content's SHA-256, computed once a process for each state of a file; a write always changes the ctime."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hub_commit(name: str, revision: str) -> str:
    """The commit that `revision` ("" is main) means: the one in the local cache where there is one, else the hub's.

    Raises BadFile where neither knows it.
    """
    if _COMMIT.fullmatch(revision):
        return revision
    return _cached_commit(name, revision) or _asked_hub(name, revision)


def cached_snapshot(name: str, revision: str) -> Path | None:
    """The folder of a name on the hub, where it has been downloaded."""
    commit = revision if _COMMIT.fullmatch(revision) else _cached_commit(name, revision)
    folder = _cache_of(name) / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def _cached_commit(name: str, revision: str) -> str:
    """The commit that the local cache knows by that revision, or ""."""
    reference = _cache_of(name) / "refs" / (revision or "main")
    return reference.read_text("utf-8").strip() if reference.is_file() else ""


def _cache_of(name: str) -> Path:
    return hub_cache() / f"models--{name.replace('/', '--')}"


def hub_cache() -> Path:
    """The folder in which the Hugging Face libraries keep what they downloaded."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home, "hub").expanduser()


@lru_cache(maxsize=256)
def _asked_hub(name: str, revision: str) -> str:
    place = f"{name!r}" + (f" at revision {revision!r}" if revision else "")
    remedy = "give the path of a folder that exists, or download it first (hf download)"
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise BadFile([f"{place}: no such folder here, and for the hub `pip install 'arena[hf]'` is needed"]) from None
    try:
        sha = HfApi().model_info(name, revision=revision or None, timeout=20).sha
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise BadFile([f"{place}: no such folder here, and the hub gave no such model ({said}): {remedy}"]) from None
    if not isinstance(sha, str):
        raise BadFile([f"{place}: the hub told no commit: {remedy}"])
    return sha
