"""What the writer remembers from one append to the next must never be more than what is there."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import ReceivedEvent, SessionFilter
from sessionbat.server.store.opening import Store, open_store
from sessionbat.server.store.sqlite import append, indexer_thread, known_rows, many_rows
from sessionbat.server.store.sqlite.payloads import PayloadReader
from sessionbat.server.store.sqlite.recent_rows import IndexedText, recent_texts
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def received(
    id: str, *, user: str = "ada", turn: str = "t1", session: str = "s1", **observation: Any
) -> ReceivedEvent:
    event = {
        "type": "llm",
        "id": id,
        "app": "app",
        "session_id": session,
        "interaction_id": turn,
        "context": {"user_id": user},
        "observation": {"kind": "llm", **observation},
    }
    return ReceivedEvent(json.dumps(event).encode(), event, 1_763_830_800_000_000)


def found(store: Store, word: str) -> list[str]:
    return [hit.id for hit in store.search(word).items]


def counted(store: Store) -> int:
    day = datetime(2025, 11, 22, tzinfo=UTC)  # of ``received``
    items = store.statistics(app=None, by="day", since=day, until=day + timedelta(1), group=None)
    return sum(item.count for item in items)


def of_user(store: Store, user: str) -> list[str]:
    where = SessionFilter(context=(("user_id", user),))
    return [session.session_id for session in store.list_sessions(where=where).items]


def failing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next append fail after it has written its sessions and events."""
    insert = append._insert_payloads

    def fail(*arguments: Any) -> Any:
        monkeypatch.setattr(append, "_insert_payloads", insert)
        insert(*arguments)
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(append, "_insert_payloads", fail)


def test_a_failed_append_clears_the_row_cache(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once(monkeypatch)
    with pytest.raises(StoreError, match="disk full"):
        store.append([received("e1", turn="t1", user="ada")])
    assert store.append([received("e1", turn="t1", user="ada")]) == [True]
    (session,) = store.list_sessions().items
    assert (session.interactions, session.observations) == (1, 1)
    assert of_user(store, "ada") == ["s1"]


def test_an_append_that_failed_leaves_nothing_to_be_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once(monkeypatch)
    with pytest.raises(StoreError, match="disk full"):
        store.append([received("e1", output="lost")])
    store.append([received("e2", output="kept")])
    eventually(lambda: found(store, "kept") == ["e2"])
    assert found(store, "lost") == []


def test_two_stores_may_write_to_one_file_in_turn(store: Store, path: Path) -> None:
    other = open_store(f"sqlite:///{path}")
    for n, writer in enumerate((store, other, other, store, store, other)):
        event = received(f"e{n}", turn=f"t{n // 2}", user=f"user{n // 2}", output=f"word{n}")
        writer.append([event])
    (session,) = store.list_sessions().items
    assert (session.interactions, session.observations) == (3, 6)
    assert [of_user(store, f"user{n}") for n in range(3)] == [["s1"]] * 3
    for n in range(6):
        eventually(lambda n=n: found(store, f"word{n}") == [f"e{n}"])  # type: ignore[misc]
    other.close()


def test_a_session_that_another_connection_deleted_is_made_again(store: Store, path: Path) -> None:
    store.append([received("e1")])
    with sqlite3.connect(path, timeout=20) as connection:
        for table in ("session_labels", "labels", "payloads", "events", "interactions", "sessions"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    store.append([received("e2")])
    (session,) = store.list_sessions().items
    assert (session.interactions, session.observations) == (1, 1)
    assert of_user(store, "ada") == ["s1"]


def test_an_event_deleted_before_it_was_indexed_is_not_indexed(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    lock = store._writer.lock  # type: ignore[attr-defined]
    words = ("stays", "gone", "stays")
    store.append([received(f"e{n}", output=word) for n, word in enumerate(words)])
    with lock, sqlite3.connect(path, timeout=20) as connection:
        connection.execute("DELETE FROM payloads WHERE event = 2")
        connection.execute("DELETE FROM events WHERE id = 2")
        (indexed,) = connection.execute("SELECT up_to FROM progress WHERE name = 'text'").fetchone()
    connection.close()
    if indexed:
        pytest.skip("indexing was faster")
    eventually(lambda: found(store, "stays") == ["e2", "e0"])
    store.close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT rowid FROM texts WHERE texts MATCH 'gone'").fetchall()
    connection.close()
    assert rows == []


def test_figures_stay_right_when_little_is_remembered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_rows, "_MAX_ENTRIES", 3)
    for n in range(20):
        store.append([received(f"e{n}", turn=f"t{n % 4}", user=f"user{n % 5}")])
    (session,) = store.list_sessions().items
    assert (session.interactions, session.observations) == (4, 20)
    assert [of_user(store, f"user{n}") for n in range(5)] == [["s1"]] * 5


def test_events_are_prepared_and_stored_while_others_are_being_prepared(store: Store) -> None:
    may_go_on = threading.Event()

    class Slow(list[ReceivedEvent]):
        def __iter__(self) -> Iterator[ReceivedEvent]:
            assert may_go_on.wait(10)
            return super().__iter__()

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(store.prepare, Slow([received("slow")]))
        quick = pool.submit(lambda: store.append(store.prepare([received("quick")])))
        assert quick.result(5) == [True]
        may_go_on.set()
        assert store.append(slow.result(10)) == [True]


def test_statements_of_many_rows_are_few_whatever_the_number_of_rows() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE pairs (number, word)")
    statements = set[str]()
    for count in range(1, 300):
        rows = [(n, "word") for n in range(count)]
        shapes = [sql for sql, _ in many_rows._values(rows)]
        many_rows.insert_many(connection, "INSERT INTO pairs", rows)
        statements.update(shapes)
    assert connection.execute("SELECT count(*) FROM pairs").fetchone() == (sum(range(300)),)
    assert len(statements) == 9


def text(number: int, length: int = 1) -> IndexedText:
    return IndexedText(number, 1, "x" * length, True)


def test_recent_texts_are_taken_in_order_and_once() -> None:
    texts = recent_texts()
    texts.add([text(n) for n in range(1, 6)])
    assert [each.id for each in texts.take_from(2, 3)] == [2, 3, 4]
    assert [each.id for each in texts.take_from(5, 3)] == [5]
    assert texts.take_from(6, 3) == []


def test_recent_texts_are_taken_up_to_a_weight() -> None:
    texts = recent_texts()
    texts.add([text(n, 10) for n in range(1, 6)])
    assert [each.id for each in texts.take_from(1, 5, max_weight=120)] == [1, 2]
    assert [each.id for each in texts.take_from(3, 5, max_weight=1)] == [3]
    assert [each.id for each in texts.take_from(4, 5, max_weight=1000)] == [4, 5]


def test_recent_texts_wait_for_those_before_them() -> None:
    texts = recent_texts()
    texts.add([text(4), text(5)])
    assert texts.take_from(3, 10) == []
    assert [each.id for each in texts.take_from(4, 10)] == [4, 5]


def test_recent_texts_never_have_a_gap() -> None:
    texts = recent_texts()
    texts.add([text(1), text(2)])
    texts.add([text(4)])  # 3 was another connection's
    assert [each.id for each in texts.take_from(4, 10)] == [4]
    assert texts.take_from(1, 10) == []


def test_recent_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionbat.server.store.sqlite.recent_rows._MAX_BYTES", 200)
    texts = recent_texts()
    texts.add([text(1, 60)])
    texts.add([text(2, 60)])
    assert texts.take_from(1, 10) == []
    texts.add([text(3, 60)])
    assert [each.id for each in texts.take_from(3, 10)] == [3]


@pytest.mark.parametrize(("character", "fit"), [("a", 3), ("ä", 3), ("天", 1), ("\U0001f600", 0)])
def test_recent_texts_are_bounded_by_the_memory_they_take(
    monkeypatch: pytest.MonkeyPatch, character: str, fit: int
) -> None:
    monkeypatch.setattr("sessionbat.server.store.sqlite.recent_rows._MAX_BYTES", 3_500)
    texts = recent_texts()
    texts.add([IndexedText(n, 1, character * 1_000, True) for n in range(1, fit + 1)])
    assert len(texts.take_from(1, 10)) == fit
    texts.add([IndexedText(n, 1, character * 1_000, True) for n in range(11, fit + 12)])
    assert texts.take_from(11, 10) == []


def test_texts_that_are_not_remembered_are_read_from_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionbat.server.store.sqlite.recent_rows._MAX_BYTES", 10)
    store.append([received(f"e{n}", output=f"word{n} " + "filler " * 10) for n in range(3)])
    eventually(lambda: found(store, "filler") == ["e2", "e1", "e0"])


def test_statistics_miss_nothing_that_is_not_remembered(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_thread, "MAX_AGE", 2.0)
    store.append([received("e1")])
    other = open_store(f"sqlite:///{path}")
    other.append([received("e2")])
    other.close()
    store.append([received("e3")])  # finds that another has written, and remembers only this
    eventually(lambda: counted(store) == 3)


def test_what_is_deleted_before_it_is_counted_never_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_thread, "MAX_AGE", 2.0)
    store.append([received("e1"), received("e2", session="s2")])
    store.delete_sessions([("app", "s2")])
    store.append([received("e3", session="s3")])
    eventually(lambda: counted(store) > 0)
    assert counted(store) == 2


def test_text_after_a_null_character_is_found(store: Store) -> None:
    store.append([received("e1", output="before\0after")])
    eventually(lambda: found(store, "before") == ["e1"])
    assert found(store, "after") == ["e1"]


def test_an_index_of_an_earlier_shape_is_made_anew(store: Store, path: Path) -> None:
    store.append([received("e1", output="lighthouse")])
    eventually(lambda: found(store, "lighthouse") == ["e1"])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE texts")
        connection.execute(
            "CREATE VIRTUAL TABLE texts USING fts5(scope, text, content = '', columnsize = 0)"
        )
    connection.close()
    again = open_store(f"sqlite:///{path}")
    eventually(lambda: found(again, "lighthouse") == ["e1"])
    assert [hit.id for hit in again.search("lighthouse", app="app").items] == ["e1"]
    again.close()


@pytest.mark.parametrize("characters", [1, 100, 5_000])
def test_a_reader_keeps_no_messages_once_it_is_given_back(
    store: SqliteStore, characters: int
) -> None:
    said = [{"role": "user", "content": f"{n} " + "x" * characters} for n in range(50)]
    event = received("e1", input={"messages": said})
    # As it is sent: only then are messages stored apart.
    store.append([event._replace(raw=json.dumps(event.event, separators=(",", ":")).encode())])
    for _ in range(3):
        assert len(store.list_events("app", "s1").items) == 1
        with store._readers.lend() as reader:
            assert (len(reader.payloads._messages), reader.payloads._cached_bytes) == (0, 0)


def test_what_is_kept_of_short_messages_is_weighed_with_what_they_take_beside() -> None:
    reader = PayloadReader()
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE messages (id, codec, data)")
    connection.executemany("INSERT INTO messages VALUES (?, 0, 'x')", [(n,) for n in range(1, 101)])
    assert len([*reader._read_messages(connection, [1, 100])]) == 100
    assert reader._cached_bytes > 100 * 150
    connection.close()
