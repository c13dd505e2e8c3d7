"""How far the text index and the statistics have come behind ingestion."""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

Derived = Literal["text", "statistics"]


class Progress(NamedTuple):
    """Numbers of events."""

    #: The last that is in it.
    up_to: int
    #: The next that has to come in; None when all are.
    following: int | None
    #: The last there is.
    newest: int | None


def progress_of(connection: sqlite3.Connection, name: Derived) -> Progress:
    """Ask how far something has come: with one statement, as it is asked all the time."""
    row = connection.execute(
        "SELECT up_to, (SELECT min(id) FROM events WHERE id > up_to), (SELECT max(id) FROM events)"
        " FROM progress WHERE name = ?",
        (name,),
    ).fetchone()
    return Progress._make(row)


def advance(connection: sqlite3.Connection, name: Derived, up_to: int) -> None:
    """Note that events up to this number are in it."""
    connection.execute("UPDATE progress SET up_to = ? WHERE name = ?", (up_to, name))
