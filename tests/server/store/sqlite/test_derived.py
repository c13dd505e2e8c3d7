"""A further thing that is derived is one object: the store does with it as with the others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.sqlite import deletion
from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Reader, Readers
from sessionbat.server.store.sqlite.derived import Derived, make_derived
from sessionbat.server.store.sqlite.event_rows import EVENT_COLUMNS, EventRow
from sessionbat.server.store.sqlite.progress import advance, progress_of
from sessionbat.server.store.sqlite.store import SqliteStore


class Kinds:
    """How many events there are of each kind, in a table of its own."""

    name = "kinds"
    is_followed = True
    steps_at_once = 1

    def __init__(self) -> None:
        self.is_stuck = False
        self.weight = 0
        self.noted = 0

    def create(self, connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS kinds (kind PRIMARY KEY, count)")

    def note(self, inserted: Inserted) -> None:
        self.noted += len(inserted.rows)

    def forget(self) -> None:
        self.noted = 0

    def read_ahead(self, readers: Readers, limit: int) -> None:
        pass

    def follow(self, connection: sqlite3.Connection, limit: int) -> bool:
        progress = progress_of(connection, self.name)
        if self.is_stuck or progress.following is None:
            return True
        rows = connection.execute(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",
            (progress.up_to, limit),
        ).fetchall()
        self._add(connection, [EventRow._make(row) for row in rows], 1)
        advance(connection, self.name, EventRow._make(rows[-1]).id)
        return EventRow._make(rows[-1]).id == progress.newest

    def weigh(self, reader: Reader, event: EventRow) -> int:
        return self.weight

    def subtract(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        self._add(connection, events, -1)

    def empty(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM kinds")

    def _add(self, connection: sqlite3.Connection, events: Sequence[EventRow], by: int) -> None:
        for event in events:
            connection.execute(
                "INSERT INTO kinds VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + ?",
                (event.kind, by, by),
            )


def received(number: int, kind: str = "tool", session: str = "s") -> ReceivedEvent:
    event = {
        "id": f"e{number}", "type": kind, "created_at": "2026-11-22T10:00:00Z", "app": "bot",
        "session_id": session, "interaction_id": None,
        "observation": {"kind": kind, "name": "lookup", "output": f"word{number}"},
    }  # fmt: skip
    return ReceivedEvent(json.dumps(event).encode(), event, 1_800_000_000_000_000 + number)


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


@pytest.fixture
def store(tmp_path: Path, kinds: Kinds) -> Iterator[SqliteStore]:
    third: Derived = kinds
    opened = SqliteStore(str(tmp_path / "store.db"), derived=[*make_derived(), third])
    opened._follower.close()
    with closing(opened):
        yield opened


def follow(store: SqliteStore) -> None:
    while not store._follow():
        pass


def counted(store: SqliteStore) -> dict[str, int]:
    with store._readers.lend() as reader:
        return dict(reader.connection.execute("SELECT kind, count FROM kinds WHERE count <> 0"))


def put(store: SqliteStore) -> None:
    store.append([received(n, kind) for n, kind in enumerate(["tool", "tool", "llm"])])
    store.append([received(n, "retrieval", "other") for n in range(3, 5)])
    follow(store)


def test_it_is_followed(store: SqliteStore) -> None:
    put(store)
    assert counted(store) == {"tool": 2, "llm": 1, "retrieval": 2}


def test_derived_data_is_told_of_new_and_of_outdated_rows(store: SqliteStore, kinds: Kinds) -> None:
    store.append([received(0), received(0), received(1)])
    assert kinds.noted == 2
    store.delete_sessions([("bot", "s")])
    assert kinds.noted == 0


def test_deleted_events_are_subtracted(store: SqliteStore) -> None:
    put(store)
    store.delete_sessions([("bot", "s")])
    assert counted(store) == {"retrieval": 2}


def test_deleted_events_that_are_not_in_it_yet_are_not_subtracted(
    store: SqliteStore, kinds: Kinds
) -> None:
    put(store)
    kinds.is_stuck = True
    store.append([received(9, "llm"), received(10, "llm")])
    follow(store)
    store.delete_sessions([("bot", "s")])
    kinds.is_stuck = False
    follow(store)
    assert counted(store) == {"retrieval": 2}


def test_a_step_of_deletion_is_as_short_as_it_asks(store: SqliteStore, kinds: Kinds) -> None:
    put(store)
    kinds.weight = deletion.STEP_CHARACTERS
    steps: list[int] = []
    store.delete_sessions([("bot", "s")], on_progress=steps.append)
    assert steps[:3] == [1, 1, 1]
    assert counted(store) == {"retrieval": 2}


def test_a_rebuild_empties_it_and_makes_it_again(store: SqliteStore) -> None:
    put(store)
    with store._writer.transaction() as connection:
        connection.execute("UPDATE kinds SET count = 100")
    store.rebuild()
    assert counted(store) == {"tool": 2, "llm": 1, "retrieval": 2}


def test_the_backlog_of_derived_data_is_measured(store: SqliteStore, kinds: Kinds) -> None:
    kinds.is_stuck = True
    put(store)
    assert store.measure().events_behind == 5
    kinds.is_stuck = False
    follow(store)
    assert store.measure().events_behind == 0


def test_one_that_came_later_is_made_of_what_is_there_already(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    with closing(SqliteStore(path)) as store:
        put(store)
    with closing(SqliteStore(path, derived=[*make_derived(), Kinds()])) as store:
        follow(store)
        assert counted(store) == {"tool": 2, "llm": 1, "retrieval": 2}


def test_one_that_fails_to_be_subtracted_keeps_the_events(
    store: SqliteStore, kinds: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)

    def fail(connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        raise sqlite3.OperationalError("nonsense")

    monkeypatch.setattr(kinds, "subtract", fail)
    with pytest.raises(StoreError):
        store.delete_sessions([("bot", "s")])
    assert store.count_events() == 5
    monkeypatch.undo()
    store.delete_sessions([("bot", "s")])
    assert counted(store) == {"retrieval": 2}
