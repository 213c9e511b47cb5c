"""Who is alive: a process holds a lock file, which the system gives free when the process ends, however it ends."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


class Held(Exception):
    """Another process holds the lock."""


class Locks:
    """The lock files of one folder, and this process's own among them, by whose name it is known to others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: FileLock | None = None
        self._name = ""

    @property
    def own(self) -> str:
        """This process's name, held from the first time it is asked for until `close`."""
        if self._own is None:
            self._name = secrets.token_hex(8)
            self._own = self._lock(self._name)
            self._own.acquire()
        return self._name

    def close(self) -> None:
        if self._own is not None:
            self._let_go(self._own)
            self._own = None

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Holds the lock of that name. Raises Held where another process does."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=1)  # somebody may only be looking (is_held)
        except Timeout:
            raise Held(name) from None
        try:
            yield
        finally:
            self._let_go(lock)

    def is_held(self, name: str) -> bool:
        """Whether a living process holds the lock of that name."""
        if not self._path(name).exists():
            return False
        try:
            with self._lock(name):
                return False
        except Timeout:
            return True
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES):  # a disk that is only looked at: nobody works there
                return False
            raise

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _lock(self, name: str) -> FileLock:
        self._folder.mkdir(exist_ok=True)
        return FileLock(self._path(name), timeout=0)

    @staticmethod
    def _let_go(lock: FileLock) -> None:
        # In this order: a file that is removed after it was released may be the next holder's.
        with suppress(PermissionError):  # where an open file can't be removed it stays, and does no harm
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
