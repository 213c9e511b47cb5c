"""The store: what goes in comes out, older and newer files, disks that refuse, claims that outlive nobody."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.schema import STEPS, NewerStore, migrate
from arena.store import FILE_NAME, Store, StoreError
from judge.types import Address, Asker, Item, Judgment, Message, Request, Response
from tests.program import REPO, environment

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\x00", "\ud83d", "a\u2028b", "=cmd", "NA", "007"]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / FILE_NAME) as opened:
        opened.start_run("r", "title", "description", {"models": []}, {})
        yield opened


def request(text: str, item: str = "i") -> Request:
    return Asker("m", "fingerprint").request([Message("user", text)], Address("d", item, "answer", ("m",)))


def test_texts_come_back_unchanged(store: Store) -> None:
    texts: dict[str, str] = {}

    @settings(deadline=None)
    @given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
    def check(asked: str, item: str, answered: str) -> None:
        _comes_back(store, texts, asked, item, answered)

    check()


def _comes_back(store: Store, texts: dict[str, str], asked: str, item: str, answered: str) -> None:
    made = request(asked, item)
    store.keep("r", made, Response(key=made.key, status="ok", text=answered, reasoning=asked))
    kept = store.response(made.key)
    assert kept is not None
    assert kept.reasoning == asked
    first = texts.setdefault(made.key, answered)
    assert kept.text == first, "what came first is kept"
    found = {e.request.key: e for e in store.exchanges("r") if e.request.address.item == item}[made.key]
    assert found.request.messages == made.messages
    assert found.request.key == made.key


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ANY_TEXT.filter(bool), min_size=3, max_size=3, unique=True), ANY_TEXT)
def test_items_and_judgments_come_back_unchanged(store: Store, names: list[str], choice: str) -> None:
    item = Item(dataset=names[0], id=names[1], turns=(names[2], ""), gold=("x",), metadata={"k": [1, None]})
    store.keep_items("r", [item])
    assert item in store.items("r")
    judgment = Judgment(
        judging="exact",
        kind="exact",
        judge="exact",
        dataset=names[0],
        item=names[1],
        category=names[2],
        models=(names[0],),
        choice=choice,
        score=1.0,
        key="k",
    )
    store.keep_judgments("r", [judgment])
    assert judgment in store.judgments("r")


def test_an_error_is_no_response(store: Store) -> None:
    made = request("x")
    store.keep("r", made, Response(key=made.key, status="error:timeout", error="took too long"))
    assert store.response(made.key) is None
    assert [failure.status for failure in store.failures("r")] == ["error:timeout"]
    store.keep("r", made, Response(key=made.key, status="ok", text="at last"))
    assert store.failures("r") == []


def test_all_or_nothing(store: Store) -> None:
    made = request("x")

    def half() -> None:
        with store.together():
            store.keep("r", made, Response(key=made.key, status="ok", text="y"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.response(made.key) is None


def test_a_claim_is_held_against_others_and_dies_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from arena.store import Store\n"
        "s = Store(Path(sys.argv[1])); print(s.claim('k'), flush=True); sys.stdin.read()"
    )
    path = tmp_path / FILE_NAME
    with Store(path) as mine:
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            cwd=REPO,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not mine.claim("k")
        other.kill()
        other.communicate()
        assert mine.claim("k"), "a dead owner holds nothing"
        assert mine.claim("k"), "one's own claim is no obstacle"


def test_a_newer_store_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer arena"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_store_is_migrated_with_a_backup(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with Store(path) as store:
        store.start_run("r", "kept", "", {}, {})
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, path, (*STEPS, "ALTER TABLE runs ADD COLUMN later TEXT;"))
    assert db.execute("SELECT title, later FROM runs").fetchall() == [("kept", None)]
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 1,)
    backup = sqlite3.connect(tmp_path / f"arena.v{len(STEPS)}.db")
    assert backup.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert backup.execute("SELECT title FROM runs").fetchall() == [("kept",)]
    backup.close()
    with pytest.raises(NewerStore):
        migrate(db, path)
    db.close()


def test_a_migration_that_fails_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    Store(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, path, (*STEPS, "ALTER TABLE runs ADD COLUMN half TEXT; ALTER TABLE nowhere ADD COLUMN x TEXT;"))
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert "half" not in [row[1] for row in db.execute("PRAGMA table_info(runs)")]
    db.close()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"this is no database, and long enough to be looked at" * 50)
    with pytest.raises(StoreError, match="can't be opened"):
        Store(path)
    with pytest.raises(StoreError, match="no store here yet"):
        Store(tmp_path / "elsewhere" / FILE_NAME, create=False)
    assert not (tmp_path / "elsewhere").exists()


def test_the_views_answer(store: Store) -> None:
    db = sqlite3.connect(store.path)
    for view in ("latest", "leaderboard", "unreadable", "spend"):
        db.execute(f"SELECT * FROM {view}").fetchall()
    db.close()
