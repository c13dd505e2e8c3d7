"""The store's file: what is refused without touching it, and what SQLite is asked for."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.records import SessionFilter
from sessionbat.server.store.opening import open_store
from sessionbat.server.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from sessionbat.server.store.sqlite.store import SqliteStore


def open_file(path: Path) -> None:
    open_store(f"sqlite:///{path}").close()


def assert_refused_untouched(path: Path, slug: str) -> str:
    """Open a file that must be refused; give the message, which is one line."""
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"\[{slug}\]") as caught:
        open_file(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    "url", ["", "store.db", "sqlite:store.db", "sqlite://", "sqlite:///", "postgres://x/y"]
)
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[unknown-store\]"):
        open_store(url)


def test_a_url_with_three_slashes_is_a_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "a#b.db", "ü🦇.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    store = open_store(f"sqlite:///{tmp_path / name}")
    assert store.count_events() == 0
    store.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", [b"hello\n", b"x" * 100_000, b"SQLite format 2\0" + b"x" * 200])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert_refused_untouched(path, "not-a-store")


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_database_of_another_program_is_refused(tmp_path: Path, journal_mode: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert_refused_untouched(path, "not-a-store")


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    open_file(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert "newer SessionBat" in assert_refused_untouched(path, "newer-store")


def test_a_newer_version_is_seen_before_it_is_in_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    open_file(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        with pytest.raises(StoreError, match=r"\[newer-store\]"):
            open_file(path)


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    open_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    assert_refused_untouched(path, "store-unusable")


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\[store-unusable\]"):
        open_file(tmp_path / "nowhere" / "store.db")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\[store-unusable\]"):
        open_file(tmp_path)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    open_file(path)
    assert path.stat().st_size > 0


def test_a_database_without_any_table_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # writes the file's first page
    assert path.stat().st_size > 0
    open_file(path)


def test_a_store_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    # What a kill in the middle of the first commit leaves: the pages are written, and the journal
    # that takes them back is still there.
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # makes SQLite sync the journal before the commit
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("CREATE TABLE half_made (x)")
    connection.execute("INSERT INTO half_made VALUES (randomblob(1000000))")
    Path(f"{copy}-journal").write_bytes(Path(f"{path}-journal").read_bytes())
    connection.execute("COMMIT")
    connection.close()
    copy.write_bytes(path.read_bytes())
    open_file(copy)
    with sqlite3.connect(copy) as made:
        tables = {name for (name,) in made.execute("SELECT name FROM sqlite_master")}
    assert "sessions" in tables
    assert "half_made" not in tables


def test_each_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    pragmas = {
        name: store._writer.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    store.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize(
    ("asked", "enforced"),
    [
        ([True, False, True], [1, 0, 1]),
        ([False, False], [0, 0]),
        ([False, None, True], [0, 0, 1]),
        ([None, True, None], [1, 1, 1]),
    ],
)
def test_foreign_keys_are_as_each_transaction_asks(
    tmp_path: Path, asked: list[bool | None], enforced: list[int]
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    found = []
    for foreign_keys in asked:
        with store._writer.transaction(foreign_keys=foreign_keys) as connection:
            found += connection.execute("PRAGMA foreign_keys").fetchone()
    store.close()
    assert found == enforced


def test_foreign_keys_are_enforced_again_after_a_failure_without_them(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with pytest.raises(ZeroDivisionError), store._writer.transaction(foreign_keys=False):
        raise ZeroDivisionError
    with store._writer.transaction() as connection:
        (enforced,) = connection.execute("PRAGMA foreign_keys").fetchone()
    store.close()
    assert enforced == 1


def test_readers_cannot_write(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with (
        pytest.raises(StoreError, match="readonly"),
        store._readers.lend() as reader,
    ):
        reader.connection.execute("DELETE FROM events")
    store.close()


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "store.db"), query_timeout=0.05)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"\[query-too-slow\]"), store._readers.lend() as reader:
        reader.connection.execute(endless).fetchone()
    assert time.monotonic() < started + 10  # given up by the store, not by the test's time limit
    assert store.list_apps() == []  # the reader is good for the next question
    store.close()


def test_deleted_space_can_be_given_back_later(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_file(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM sessions WHERE (last_at_us, id) < (1, 1)"
        " ORDER BY last_at_us DESC, id DESC LIMIT 50",
        "SELECT id FROM sessions WHERE app = 1 AND (last_at_us, id) < (1, 1)"
        " ORDER BY last_at_us DESC, id DESC LIMIT 50",
        "SELECT id FROM events WHERE session = 1 AND (at_us, id) > (1, 1)"
        " ORDER BY at_us, id LIMIT 50",
    ],
)
def test_lists_walk_an_index_and_sort_nothing(tmp_path: Path, query: str) -> None:
    path = tmp_path / "store.db"
    open_file(path)
    with sqlite3.connect(path) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "SEARCH" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("sort", ["last_activity", "duration", "cost", "errors"])
@pytest.mark.parametrize(
    "where",
    [
        {},
        {"error": True},
        {"error": False},
        {"min_cost_usd": 1.0, "max_latency_ms": 5.0},
        {"since": datetime(2026, 11, 22, tzinfo=UTC), "until": datetime(2026, 11, 23, tzinfo=UTC)},
    ],
)
def test_the_list_of_an_app_walks_an_index_in_every_order(
    tmp_path: Path, where: dict[str, Any], sort: Any
) -> None:
    store = SqliteStore(str(tmp_path / "store.db"))
    statements: list[str] = []
    with store._readers.lend() as reader:
        reader.connection.set_trace_callback(statements.append)
    store.list_sessions(app="a", sort=sort, where=SessionFilter(**where))
    with store._readers.lend() as reader:
        plan = reader.connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall()
    store.close()
    steps = " ".join(step[3] for step in plan)
    assert "SEARCH sessions USING INDEX" in steps
    assert "TEMP B-TREE" not in steps
