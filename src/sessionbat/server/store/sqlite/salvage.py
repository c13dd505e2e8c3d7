"""Copies everything readable from a damaged file into a new store.

Reads the source tables (payloads, messages, keys) and no derived ones. When a page cannot be read,
it searches for the next readable row and continues there.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from sessionbat.errors import StoreError
from sessionbat.event import find_problem
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.sqlite.payloads import PayloadReader

Progress = Callable[[int, int], None]

_LAST_NUMBER: Final = 2**63 - 1
_BATCH: Final = 500
_COPIED_WHOLE: Final = ("keys", "secrets")


class Salvaged(NamedTuple):
    """The numbers of events that were read and that were not."""

    events: int
    #: Events that have a row but no readable payload.
    unreadable: int
    #: Keys, revoked ones included.
    keys: int
    #: False if some keys could not be read; new ones have to be created then.
    has_all_keys: bool


def salvage(
    path: Path,
    append: Callable[[list[ReceivedEvent]], object],
    keys_into: sqlite3.Connection,
    on_progress: Progress,
) -> Salvaged:
    """Read a store's file and pass on all readable events.

    Args:
        path: The damaged file; it is not changed.
        append: Receives events, some hundred at a time.
        keys_into: The new store's file, into which keys and the login secret are copied.
        on_progress: Called with the number of events tried and the approximate total.

    Raises:
        StoreError: Not even the list of tables can be read.
    """
    with closing(_open(path)) as connection:
        total = _highest_number(connection)
        batch: list[ReceivedEvent] = []
        found = 0
        bad: set[int] = set()
        for number, event in _events(connection, bad):
            batch.append(event)
            found += 1
            if len(batch) >= _BATCH:
                append(batch)
                batch = []
                on_progress(min(number, total), total)
        if batch:
            append(batch)
        on_progress(total, total)
        copied, is_whole = _copy_keys(connection, keys_into)
    return Salvaged(found, len(bad), copied, is_whole)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.isolation_level = None
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("SELECT 1 FROM payloads LIMIT 0")
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise StoreError(
            f"nothing of {str(path)!r} can be read: {exc}; restore a backup",
            slug="not-salvageable",
        ) from exc
    return connection


def _highest_number(connection: sqlite3.Connection) -> int:
    """Return the number of the newest event, if readable; used for progress only."""
    for question in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
        "SELECT max(event) FROM payloads",
    ):
        with suppress(sqlite3.DatabaseError):
            (number,) = connection.execute(question).fetchone() or (0,)
            return int(number or 0)
    return 0


def _events(connection: sqlite3.Connection, bad: set[int]) -> Iterator[tuple[int, ReceivedEvent]]:
    received = dict(readable_rows(connection, "events", "id", "id, received_at_us"))
    missing = set(received)
    payloads = PayloadReader()
    for number, codec, data in readable_rows(connection, "payloads", "event", "event, codec, data"):
        missing.discard(number)
        event = _decoded(connection, payloads, codec, data, received.get(number))
        if event is None:
            bad.add(number)
        else:
            yield number, event
    bad |= missing


def _decoded(
    connection: sqlite3.Connection,
    payloads: PayloadReader,
    codec: int,
    data: bytes,
    received_at_us: int | None,
) -> ReceivedEvent | None:
    try:
        raw = payloads.decode(connection, codec, data)
        event = orjson.loads(raw)
    except Exception:  # noqa: BLE001 - a damaged frame may be anything; it is counted
        return None
    if find_problem(event) is not None:
        return None
    return ReceivedEvent(raw, event, received_at_us or time.time_ns() // 1000)


def readable_rows(
    connection: sqlite3.Connection, table: str, key: str, columns: str
) -> Iterator[Any]:
    """Read a table in the order of its row numbers, skipping unreadable rows.

    Args:
        connection: A connection for reading.
        table: A table with a number for each row.
        key: The column of that number; the first of ``columns``.
        columns: The columns to read.
    """
    last = -1
    question = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    while True:
        try:
            rows = connection.execute(question, (last,))
            while (row := rows.fetchone()) is not None:
                last = row[0]
                yield row
            return
        except sqlite3.DatabaseError:
            pass
        following = next_readable(connection, table, key, last + 1)
        if following is None:
            return
        last = following - 1


def next_readable(connection: sqlite3.Connection, table: str, key: str, start: int) -> int | None:
    """Find the first row after a damaged page, by exponential and then binary search."""
    bad, step = start, 1
    while (good := start + step) < _LAST_NUMBER:
        if _first_from(connection, table, key, good) is not None:
            break
        bad, step = good, step * 2
    else:
        return None
    while good - bad > 1:
        middle = (bad + good) // 2
        if _first_from(connection, table, key, middle) is None:
            bad = middle
        else:
            good = middle
    found = _first_from(connection, table, key, good)
    return None if found in (None, _END) else found


_END: Final = -1


def _first_from(connection: sqlite3.Connection, table: str, key: str, number: int) -> int | None:
    """Return the first row number from a start; -1 when there is none, None when unreadable."""
    try:
        row = connection.execute(
            f"SELECT {key}, * FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT 1", (number,)
        ).fetchone()
    except sqlite3.DatabaseError:
        return None
    return _END if row is None else int(row[0])


def _copy_keys(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, bool]:
    """Copy keys and secrets; they are few, so one damaged page may hold them all."""
    keys, is_whole = 0, True
    for table in _COPIED_WHOLE:
        if (
            source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            is None
        ):
            continue  # a store of an early version
        try:
            rows = source.execute(f"SELECT * FROM {table}").fetchall()
        except sqlite3.DatabaseError:
            is_whole = False
            continue
        for row in rows:
            places = ", ".join("?" * len(row))
            target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)
            keys += table == "keys"
    target.commit()
    return keys, is_whole
