"""Events of all sessions in the order they were received: what an export reads, page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from sessionbat.server.records import EventFilter
from sessionbat.server.store.reading import MAX_LABEL_CHARACTERS, microseconds

#: One page looks at so many events at most, whatever few it finds: no read lasts long.
WINDOW: Final = 50_000


def rows(
    connection: sqlite3.Connection, where: EventFilter, *, after: int
) -> Iterator[tuple[int, str | bytes, int, bytes]]:
    """Read the events of the window after a number: their number, id, codec and payload.

    Raises:
        ValueError: The user's id is longer than a label is kept.
    """
    conditions = list(_conditions(where))
    texts = ["events.id > ?", "events.id <= ?", *(text for text, _ in conditions)]
    yield from connection.execute(
        "SELECT events.id, event_id, codec, data FROM events JOIN payloads ON event = events.id"
        f" WHERE {' AND '.join(texts)} ORDER BY events.id",
        (after, after + WINDOW, *(value for _, values in conditions for value in values)),
    )


def last_number(connection: sqlite3.Connection) -> int:
    """Give the number of the event received last; 0 when there is none."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(last)


def _conditions(where: EventFilter) -> Iterator[tuple[str, tuple[Any, ...]]]:
    # A plus keeps SQLite from any index but that of the order; with a session named, it may choose.
    if where.app is not None:
        yield "+app = (SELECT id FROM apps WHERE name = ?)", (where.app,)
    if where.session_id is not None:
        yield "session IN (SELECT id FROM sessions WHERE session_id = ?)", (where.session_id,)
    if where.user_id is not None:
        if len(where.user_id) > MAX_LABEL_CHARACTERS:
            raise ValueError(f"a user_id longer than {MAX_LABEL_CHARACTERS} characters")
        yield (
            "session IN (SELECT session FROM labels JOIN session_labels ON label = labels.id"
            " WHERE key = 'context.user_id' AND value = ?)",
            (where.user_id,),
        )
    if where.kind is not None:
        yield "+kind = ?", (where.kind,)
    if where.error is not None:
        yield "+failed = ?", (int(where.error),)
    if where.since is not None:
        yield "+at_us >= ?", (microseconds(where.since),)
    if where.until is not None:
        yield "+at_us < ?", (microseconds(where.until),)
