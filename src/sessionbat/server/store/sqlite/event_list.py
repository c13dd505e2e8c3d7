"""Queries for a session's events: a page of them, or a single one."""

from __future__ import annotations

from typing import NamedTuple

from sessionbat.event import FEEDBACK
from sessionbat.server.records import Page, StoredEvent
from sessionbat.server.store.questions import EventQuery, EventsQuery, FeedbackQuery
from sessionbat.server.store.sqlite.append import pack_id, unpack_id
from sessionbat.server.store.sqlite.connections import Reader
from sessionbat.server.store.sqlite.paging import Filling, Place, read_cursor

_ITS_SESSION = (
    "(SELECT sessions.id FROM sessions JOIN apps ON apps.id = app"
    " WHERE apps.name = ? AND session_id = ?)"
)
_BEFORE_ALL = Place(-1, -1)


class _Row(NamedTuple):
    id: int
    at_us: int
    event_id: str | bytes
    estimated_usd: float | None
    codec: int
    data: bytes


def list_events(reader: Reader, query: EventsQuery) -> Page[StoredEvent]:
    """List a session's events, oldest first."""
    filling = Filling[StoredEvent](query.limit)
    start = read_cursor(query.after, _BEFORE_ALL)
    rows = reader.connection.execute(
        f"SELECT {', '.join(_Row._fields)} FROM events JOIN payloads ON event = events.id"
        f" WHERE session = {_ITS_SESSION} AND (at_us, id) > (?, ?) ORDER BY at_us, id LIMIT ?",
        (query.app, query.session_id, *start, query.limit + 1),
    )
    for row in map(_Row._make, rows):
        if filling.is_full:
            rows.close()
            return filling.page(is_cut=True)
        raw = reader.payloads.decode(reader.connection, row.codec, row.data)
        event = StoredEvent(unpack_id(row.event_id), raw, row.estimated_usd)
        filling.add(Place(row.at_us, row.id), event, len(raw))
    return filling.page(is_cut=False)


def list_feedback(reader: Reader, query: FeedbackQuery) -> list[StoredEvent]:
    """List what was said of a session: the latest of it, oldest first."""
    rows = reader.connection.execute(
        "SELECT event_id, codec, data FROM events INDEXED BY events_of_feedback"
        f" CROSS JOIN payloads ON event = events.id"
        f" WHERE session = {_ITS_SESSION} AND kind = '{FEEDBACK}'"
        " ORDER BY at_us DESC, events.id DESC LIMIT ?",
        (query.app, query.session_id, query.limit),
    ).fetchall()
    return [
        StoredEvent(unpack_id(event_id), reader.payloads.decode(reader.connection, codec, data))
        for event_id, codec, data in reversed(rows)
    ]


def find_event(reader: Reader, query: EventQuery) -> StoredEvent | None:
    """Find one event of a session; None when no event has that id."""
    for estimated_usd, codec, data in reader.connection.execute(
        "SELECT estimated_usd, codec, data FROM events JOIN payloads ON event = events.id"
        f" WHERE event_id = ? AND session = {_ITS_SESSION}",
        (pack_id(query.event_id), query.app, query.session_id),
    ).fetchall():
        raw = reader.payloads.decode(reader.connection, codec, data)
        return StoredEvent(query.event_id, raw, estimated_usd)
    return None
