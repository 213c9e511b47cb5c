"""Which batches were handed in and what of them is still to come: kept in the store, so that no process takes it with it.

A batch is written down before anything is sent, with the keys of its requests; the server's names for it as soon as they
are known. A key stays in it until its response is in the store or it is settled that none will come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

_WAITING = "NOT EXISTS (SELECT 1 FROM responses r WHERE r.key = batched.key)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch. `place` is a server or a folder; `file` and `id` are that place's names, "" until they are known."""

    name: str
    model: str
    place: str
    file: str = ""
    id: str = ""
    requests: int = 0
    created_at: str = ""

    @property
    def known_as(self) -> str:
        return self.id or self.name


class BatchBook:
    """The tables `batches` and `batched` of a store."""

    def __init__(self, db: sqlite3.Connection, together: Callable[[], AbstractContextManager[None]]) -> None:
        self._db = db
        self._together = together

    def begin(self, name: str, model: str, place: str, keys: Sequence[str]) -> Batch:
        """Writes down a batch that is about to be sent, with the keys of its lines in their order."""
        begun = datetime.now(UTC).isoformat(timespec="milliseconds")
        batch = Batch(name=name, model=model, place=place, requests=len(keys), created_at=begun)
        with self._together():
            self._db.execute(
                "INSERT INTO batches(name, model, place, requests, created_at) VALUES (?,?,?,?,?)",
                (name, model, place, len(keys), begun),
            )
            self._db.executemany(
                "INSERT INTO batched(key, batch, line) VALUES (?,?,?)",
                [(key, name, number) for number, key in enumerate(keys, 1)],
            )
        return batch

    def note_file(self, name: str, file: str) -> None:
        with self._together():
            self._db.execute("UPDATE batches SET file = ? WHERE name = ?", (file, name))

    def note_id(self, name: str, id_: str) -> None:
        with self._together():
            self._db.execute("UPDATE batches SET id = ? WHERE name = ?", (id_, name))

    def of(self, key: str) -> Batch | None:
        """The batch that a request is in and whose answer to it has not been taken, if there is one."""
        row = self._db.execute(
            f"SELECT b.* FROM batched JOIN batches b ON b.name = batched.batch WHERE batched.key = ? AND {_WAITING}",
            (key,),
        ).fetchone()
        return None if row is None else _read(row)

    def get(self, name: str) -> Batch | None:
        row = self._db.execute("SELECT * FROM batches WHERE name = ? OR id = ?", (name, name)).fetchone()
        return None if row is None else _read(row)

    def lines(self, name: str) -> dict[int, str]:
        """The keys of a batch whose answers have not been taken, by the number of their line, from 1."""
        rows = self._db.execute(f"SELECT line, key FROM batched WHERE batch = ? AND {_WAITING}", (name,))
        return {row["line"]: row["key"] for row in rows}

    def settle(self, keys: Sequence[str]) -> None:
        """Nothing more will come for these requests: they may be asked again."""
        with self._together():
            self._db.executemany("DELETE FROM batched WHERE key = ?", [(key,) for key in keys])

    def forget(self, name: str) -> None:
        """Nothing of this batch will be taken any more: its requests may be asked again."""
        with self._together():
            self._db.execute("DELETE FROM batched WHERE batch = ?", (name,))
            self._db.execute("DELETE FROM batches WHERE name = ?", (name,))

    def tidy(self) -> None:
        """Strikes out what has come."""
        with self._together():
            self._db.execute(f"DELETE FROM batched WHERE NOT {_WAITING}")

    def open(self) -> list[tuple[Batch, int]]:
        """The batches that still hold answers nobody has taken, oldest first, and how many."""
        rows = self._db.execute(
            "SELECT b.*, (SELECT count(*) FROM batched WHERE batch = b.name AND "
            f"{_WAITING}) AS waiting FROM batches b ORDER BY b.created_at, b.name"
        )
        return [(_read(row), row["waiting"]) for row in rows if row["waiting"]]


def _read(row: sqlite3.Row) -> Batch:
    return Batch(**{name: row[name] for name in ("name", "model", "place", "file", "id", "requests", "created_at")})
