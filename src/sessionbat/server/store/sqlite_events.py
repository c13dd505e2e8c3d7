"""Events into rows: what ``append`` does inside its transaction.

What is new is decided first; only then are sessions, interactions, events and payloads written, so
a repeated event leaves no trace, not even an empty session.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.reading import Reading, read
from sessionbat.server.store.sqlite_payloads import PayloadWriter
from sessionbat.server.store.sqlite_sessions import add_to_sessions, row_of

_HEXADECIMAL = re.compile("[0-9a-f]{32}")


def insert_events(
    connection: sqlite3.Connection,
    events: Sequence[ReceivedEvent],
    payloads: PayloadWriter,
    context_keys: Sequence[str],
) -> list[bool]:
    """Insert what is new, inside the caller's transaction; say for each event whether it was."""
    apps = _app_rows(connection, {received.event["app"] for received in events})
    is_new = _find_new(connection, apps, events)
    new = [received for received, is_new_one in zip(events, is_new, strict=True) if is_new_one]
    if new:
        readings = [
            (apps[each.event["app"]], read(each.event, each.received_at_us, context_keys))
            for each in new
        ]
        _insert_rows(connection, new, readings, payloads)
    return is_new


def pack_id(event_id: str) -> str | bytes:
    """Write an event's id as the file holds it: what the SDK makes takes half the room."""
    return bytes.fromhex(event_id) if _HEXADECIMAL.fullmatch(event_id) else event_id


def unpack_id(stored: str | bytes) -> str:
    """Read an id as it was received."""
    return stored.hex() if isinstance(stored, bytes) else stored


def _app_rows(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    return {
        name: row_of(
            connection,
            "SELECT id FROM apps WHERE name = ?",
            "INSERT INTO apps (name) VALUES (?)",
            (name,),
        )[0]
        for name in names
    }


def _find_new(
    connection: sqlite3.Connection, apps: dict[str, int], events: Sequence[ReceivedEvent]
) -> list[bool]:
    seen: set[tuple[int, str]] = set()
    is_new = []
    for received in events:
        app, event_id = apps[received.event["app"]], received.event["id"]
        is_new.append(
            (app, event_id) not in seen
            and connection.execute(
                "SELECT 1 FROM events WHERE app = ? AND event_id = ?", (app, pack_id(event_id))
            ).fetchone()
            is None
        )
        seen.add((app, event_id))
    return is_new


def _insert_rows(
    connection: sqlite3.Connection,
    events: Sequence[ReceivedEvent],
    readings: Sequence[tuple[int, Reading]],
    payloads: PayloadWriter,
) -> None:
    sessions, interactions = add_to_sessions(connection, readings)
    (last,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
    ).fetchone()
    rows = [
        (last + n, app, sessions[app, reading.session_id], reading)
        for n, (app, reading) in enumerate(readings, 1)
    ]
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                app,
                pack_id(reading.event_id),
                session,
                interactions.get((session, reading.interaction_id)),
                *reading[3:14],
            )
            for number, app, session, reading in rows
        ),
    )
    payloads.insert(
        connection,
        [
            (number, session, received)
            for (number, _, session, _), received in zip(rows, events, strict=True)
        ],
    )
