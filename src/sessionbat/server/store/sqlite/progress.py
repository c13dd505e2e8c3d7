"""Records how far derived data has followed ingestion."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple


class Progress(NamedTuple):
    """Numbers of events."""

    #: The last that is in it.
    up_to: int
    #: The next that has to come in; None when all are.
    following: int | None
    #: The last there is.
    newest: int | None


def progress_of(connection: sqlite3.Connection, name: str) -> Progress:
    """Return how far one kind of derived data has come; one statement, since it is called often."""
    row = connection.execute(
        "SELECT up_to, (SELECT min(id) FROM events WHERE id > up_to), (SELECT max(id) FROM events)"
        " FROM progress WHERE name = ?",
        (name,),
    ).fetchone()
    return Progress._make(row)


def advance(connection: sqlite3.Connection, name: str, up_to: int) -> None:
    """Record that events up to this number are in it."""
    connection.execute("UPDATE progress SET up_to = ? WHERE name = ?", (up_to, name))


def begin(connection: sqlite3.Connection, name: str) -> None:
    """Insert the row of new derived data, with no events in it yet."""
    connection.execute("INSERT OR IGNORE INTO progress (name, up_to) VALUES (?, 0)", (name,))


class Behind(NamedTuple):
    """The events missing from some derived data."""

    events: int
    #: When the first of them was received; None when there are none.
    since_us: int | None


def behind(connection: sqlite3.Connection, names: Sequence[str]) -> Behind:
    """Count the events missing from any of these."""
    places = ", ".join("?" * len(names))
    return Behind._make(
        connection.execute(
            "SELECT count(*), min(received_at_us) FROM events WHERE id >"
            f" (SELECT coalesce(min(up_to), 0) FROM progress WHERE name IN ({places}))",
            names,
        ).fetchone()
    )
