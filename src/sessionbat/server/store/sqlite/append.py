"""Turns events into rows: the work of ``append`` before and inside its transaction.

Work that needs no database is done before, while another thread may be writing. The transaction
first decides which events are new; only then it writes sessions, interactions, events and payloads.
So a repeated event leaves no trace, not even an empty session.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, NamedTuple

from sessionbat.server.reading.figures import EventFigures, read
from sessionbat.server.reading.usage import Estimate
from sessionbat.server.records import PreparedEvent, ReceivedEvent
from sessionbat.server.store.query_terms import Indexed, indexed, text_of, text_of_parts
from sessionbat.server.store.session_tally import Tally, tally_up
from sessionbat.server.store.sqlite.event_rows import EventRow, event_row
from sessionbat.server.store.sqlite.known_rows import KnownRows, KnownSession
from sessionbat.server.store.sqlite.many_rows import (
    insert_into,
    insert_many,
    places_of,
    with_values,
)
from sessionbat.server.store.sqlite.payloads import (
    LONG,
    MAX_MESSAGES,
    Arrived,
    Conversation,
    Payload,
    PayloadRow,
    PayloadWriter,
)
from sessionbat.server.store.sqlite.recent_rows import IndexedText
from sessionbat.server.store.sqlite.session_rows import add_to_sessions, find_sessions

_WORK: Final = 50
_WORK_PER_MESSAGE: Final = 10
# The first few are mostly known already; an event may have 64, each new.
_WORK_PER_LABEL: Final = 30
_USUAL_LABELS: Final = 8
_BYTES_A_MICROSECOND: Final = 100
_INSERT_EVENTS: Final = insert_into("events", EventRow)
_INSERT_PAYLOADS: Final = insert_into("payloads", PayloadRow)
_NOTHING: Final = Indexed("", True)

#: Tallies by app name and session id.
Tallies = Mapping[tuple[str, str], Tally]


@dataclass(slots=True)
class Prepared(PreparedEvent):
    """An event prepared for insertion."""

    app: str
    figures: EventFigures
    packed_id: str | bytes
    payload: Payload | Conversation
    #: Its indexed text; None until its new messages are known.
    text: Indexed | None

    @property
    def work(self) -> int:
        """See ``PreparedEvent.work``; measured with messages of 30 bytes and texts of 10 KB."""
        payload = self.payload
        work = _WORK
        if (labels := len(self.figures.shared_labels)) > _USUAL_LABELS:
            work += _WORK_PER_LABEL * (labels - _USUAL_LABELS)
        if isinstance(payload, Conversation):
            size = len(payload.around) + sum(map(len, payload.messages))
            return work + _WORK_PER_MESSAGE * len(payload.messages) + size // _BYTES_A_MICROSECOND
        return work + len(payload.data) // _BYTES_A_MICROSECOND


def prepare(
    events: Sequence[ReceivedEvent],
    payloads: PayloadWriter,
    context_keys: tuple[str, ...],
    estimate: Estimate | None = None,
) -> list[Prepared]:
    """Read and compress events; touches no database."""
    return [
        Prepared(
            event["app"],
            read(event, received_at_us, context_keys, estimate),
            pack_id(event["id"]),
            payload,
            None if isinstance(payload, Conversation) else indexed(text_of(event)),
        )
        for (_, event, received_at_us), payload in zip(events, payloads.encode(events), strict=True)
    ]


def tally_of(events: Sequence[Prepared]) -> Tallies:
    """Sum up what events add to their sessions; touches no database."""
    return tally_up((each.app, each.figures) for each in events)


class Inserted(NamedTuple):
    """The rows that a committed transaction has inserted."""

    #: Whether each event was new.
    is_new: list[bool]
    #: The new ones, in the order of their numbers.
    rows: Sequence[EventRow] = ()
    #: Their entries for the text index, in the same order.
    texts: Sequence[IndexedText] = ()


def insert_events(
    connection: sqlite3.Connection,
    events: Sequence[Prepared],
    tallies: Tallies,
    payloads: PayloadWriter,
    known: KnownRows,
) -> Inserted:
    """Insert new events in the caller's transaction; ``tallies`` are those of all events."""
    apps = {name: app_row(connection, known, name) for name, _ in tallies}
    keys = [(apps[app], session) for app, session in tallies]
    is_new = _find_new(connection, apps, events, find_sessions(connection, keys, known))
    if not all(is_new):
        events = [*compress(events, is_new)]
        tallies = tally_of(events)
    if not events:
        return Inserted(is_new)
    by_number = {(apps[app], session): tally for (app, session), tally in tallies.items()}
    add_to_sessions(connection, by_number, known)
    rows = _insert_rows(connection, apps, events, known)
    texts, sizes = _insert_payloads(connection, events, rows, payloads)
    connection.executemany("UPDATE apps SET bytes = bytes + ? WHERE id = ?", sizes)
    return Inserted(is_new, rows, texts)


def pack_id(event_id: str) -> str | bytes:
    """Encode an event's id for the file; ids made by the SDK take half the room."""
    try:
        packed = bytes.fromhex(event_id)
    except ValueError:
        return event_id
    # Exactly what ``unpack_id`` gives back: no capitals, no blanks.
    return packed if len(packed) == 16 and packed.hex() == event_id else event_id


def unpack_id(stored: str | bytes) -> str:
    """Decode an id to the form in which it was received."""
    return stored.hex() if isinstance(stored, bytes) else stored


def app_row(connection: sqlite3.Connection, known: KnownRows, name: str) -> int:
    """Give the number of an app; a new one gets its row."""
    row = known.apps.get(name)
    if row is None:
        connection.execute("INSERT OR IGNORE INTO apps (name) VALUES (?)", (name,))
        (row,) = connection.execute("SELECT id FROM apps WHERE name = ?", (name,)).fetchone()
        known.apps[name] = row
    return row


def _find_new(
    connection: sqlite3.Connection,
    apps: Mapping[str, int],
    events: Sequence[Prepared],
    sessions: Mapping[tuple[int, str], KnownSession],
) -> list[bool]:
    keys = [
        (each.packed_id, sessions[apps[each.app], each.figures.session_id].row) for each in events
    ]
    there = set(
        with_values(
            connection,
            "SELECT column1, column2 FROM {} CROSS JOIN events"
            " ON event_id = column1 AND session = column2",
            keys,
        )
    )
    is_new = []
    for key in keys:
        is_new.append(key not in there)
        there.add(key)
    return is_new


def _insert_rows(
    connection: sqlite3.Connection,
    apps: Mapping[str, int],
    events: Sequence[Prepared],
    known: KnownRows,
) -> list[EventRow]:
    (last,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
    ).fetchone()
    rows = []
    for number, each in enumerate(events, last + 1):
        app, figures = apps[each.app], each.figures
        session = known.sessions[app, figures.session_id]
        rows.append(event_row(number, app, each.packed_id, session, figures))
    insert_many(connection, _INSERT_EVENTS, rows)
    return rows


def _insert_payloads(
    connection: sqlite3.Connection,
    events: Sequence[Prepared],
    rows: Sequence[EventRow],
    payloads: PayloadWriter,
) -> tuple[list[IndexedText], list[tuple[int, int]]]:
    """Insert payloads; returns their searchable texts, and the bytes added for each app."""
    arrived = [
        Arrived(row.id, row.session, each.payload)
        for each, row in zip(events, rows, strict=True)
        if isinstance(each.payload, Conversation)
    ]
    referring = iter(payloads.insert_messages(connection, arrived) if arrived else ())
    texts: list[IndexedText] = []
    encoded, long = list[PayloadRow](), list[PayloadRow]()
    sizes: dict[int, int] = defaultdict(int)
    for each, row in zip(events, rows, strict=True):
        number, app, payload, text = row.id, row.app, each.payload, each.text
        if isinstance(payload, Conversation):
            around = payload.around
            payload, own_messages, size = next(referring)
            sizes[app] += size
            text = indexed(text_of_parts(around, own_messages[:MAX_MESSAGES]))
        codec, data = payload
        size = len(data)
        sizes[app] += size
        (encoded if size <= LONG else long).append(PayloadRow(number, codec, data))
        texts.append(IndexedText(number, app, *(text or _NOTHING)))
    insert_many(connection, _INSERT_PAYLOADS, encoded)
    connection.executemany(f"{_INSERT_PAYLOADS} VALUES {places_of(PayloadRow)}", long)
    return texts, [(size, app) for app, size in sizes.items()]
