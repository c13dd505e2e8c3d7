"""Lists events of all sessions in the order received, page by page, for an export."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from sessionbat.server.reading.figures import MAX_LABEL_CHARACTERS, microseconds
from sessionbat.server.records import EventFilter, Page, StoredEvent
from sessionbat.server.store.sqlite.append import unpack_id
from sessionbat.server.store.sqlite.connections import Reader
from sessionbat.server.store.sqlite.paging import Filling, Place, read_cursor, write_cursor
from sessionbat.server.store.sqlite.payloads import PayloadReader
from sessionbat.server.store.sqlite.salvage import next_readable

#: One page looks at so many events at most, whatever few it finds: no read lasts long.
WINDOW: Final = 50_000
_MARK: Final = "r"


def list_received(
    reader: Reader, where: EventFilter, *, limit: int, after: str | None
) -> Page[StoredEvent]:
    """Read the events after a cursor, up to a count or size, skipping damaged ones.

    Raises:
        ValueError: The user's id is longer than a label can be.
    """
    connection = reader.connection
    start = number = read_cursor(after, Place(0), _MARK).place
    end, last, unreadable = start + WINDOW, _last_number(connection), 0
    filling = Filling[StoredEvent](limit)
    try:
        for number, event_id, codec, data in _rows(connection, where, after=start):
            raw = _decoded(connection, reader.payloads, codec, data)
            if raw is None:
                unreadable += 1
                continue
            filling.add(Place(number), StoredEvent(unpack_id(event_id), raw), len(raw))
            if filling.is_full:
                end = number
                break
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        following = next_readable(connection, "payloads", "event", number + 1) or last + 1
        end = following - 1
        unreadable += max(end - number, 1)
    following_page = write_cursor(Place(end), _MARK) if end < last else None
    return Page(filling.items, following_page, unreadable)


def _decoded(
    connection: sqlite3.Connection, payloads: PayloadReader, codec: int, data: bytes
) -> bytes | None:
    try:
        return payloads.decode(connection, codec, data)
    except sqlite3.DatabaseError:
        raise
    except Exception:  # noqa: BLE001 - a damaged frame may be anything; it is counted
        return None


def _rows(
    connection: sqlite3.Connection, where: EventFilter, *, after: int
) -> Iterator[tuple[int, str | bytes, int, bytes]]:
    conditions = list(_conditions(where))
    texts = ["events.id > ?", "events.id <= ?", *(text for text, _ in conditions)]
    yield from connection.execute(
        "SELECT events.id, event_id, codec, data FROM events JOIN payloads ON event = events.id"
        f" WHERE {' AND '.join(texts)} ORDER BY events.id",
        (after, after + WINDOW, *(value for _, values in conditions for value in values)),
    )


def _last_number(connection: sqlite3.Connection) -> int:
    """Return the number of the event received last; 0 when there is none."""
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
