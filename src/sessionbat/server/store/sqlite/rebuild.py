"""Rebuilds columns, summaries, interactions and labels from the raw events.

Data derived behind ingestion is only emptied here; the follower then makes it again from the first
event on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import orjson

from sessionbat.server.reading.figures import read
from sessionbat.server.reading.usage import Estimate
from sessionbat.server.store.session_tally import tally_up
from sessionbat.server.store.sqlite.append import pack_id
from sessionbat.server.store.sqlite.derived import Derived
from sessionbat.server.store.sqlite.event_rows import EVENT_COLUMNS, EventRow, event_row
from sessionbat.server.store.sqlite.known_rows import KnownRows
from sessionbat.server.store.sqlite.many_rows import columns, places_of
from sessionbat.server.store.sqlite.payloads import PayloadReader
from sessionbat.server.store.sqlite.session_rows import add_to_sessions

_CHUNK: Final = 1000
_DERIVED_TABLES: Final = ("session_labels", "labels")


class _Stored(NamedTuple):
    id: int
    app: int
    received_at_us: int
    codec: int
    data: bytes


_READ: Final = f"""
    SELECT {columns(_Stored)} FROM events JOIN payloads ON event = events.id
    WHERE id > ? ORDER BY id LIMIT ?
"""
_SET: Final = f"UPDATE events SET ({EVENT_COLUMNS}) = {places_of(EventRow)} WHERE id = ?"


def rebuild_rows(
    connection: sqlite3.Connection,
    context_keys: tuple[str, ...],
    derived: Sequence[Derived],
    estimate: Estimate | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Rebuild inside the caller's transaction; reports the events done and the total."""
    reader = PayloadReader()
    (total,) = connection.execute("SELECT count(*) FROM events").fetchone()
    _empty(connection)
    for each in derived:
        each.empty(connection)
    done, last = 0, 0
    while rows := [*map(_Stored._make, connection.execute(_READ, (last, _CHUNK)))]:
        _rebuild_chunk(connection, rows, reader, context_keys, estimate, KnownRows())
        last = rows[-1].id
        done += len(rows)
        on_progress(done, total)
    empty = "observations = 0 AND feedback = 0"
    connection.execute(
        f"DELETE FROM interactions WHERE session IN (SELECT id FROM sessions WHERE {empty})"
    )
    connection.execute(f"DELETE FROM sessions WHERE {empty}")


def _empty(connection: sqlite3.Connection) -> None:
    for table in _DERIVED_TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE progress SET up_to = 0")
    connection.execute("UPDATE events SET interaction = NULL")
    connection.execute("DELETE FROM interactions")
    connection.execute(
        """
        UPDATE sessions SET
            first_at_us = 9223372036854775807, last_at_us = 0, interactions = 0, observations = 0,
            feedback = 0, llm_calls = 0, tool_calls = 0, retrievals = 0, errors = 0,
            input_tokens = 0, output_tokens = 0, cost_nanos = 0, estimated_nanos = 0,
            latency_ms = 0, title = '', title_rank = 0, title_at_us = 0
        """
    )


def _rebuild_chunk(
    connection: sqlite3.Connection,
    rows: Sequence[_Stored],
    reader: PayloadReader,
    context_keys: tuple[str, ...],
    estimate: Estimate | None,
    known: KnownRows,
) -> None:
    readings = [
        (
            row.app,
            read(
                orjson.loads(reader.decode(connection, row.codec, row.data)),
                row.received_at_us,
                context_keys,
                estimate,
            ),
        )
        for row in rows
    ]
    add_to_sessions(connection, tally_up(readings), known)
    made = [
        event_row(row.id, app, pack_id(each.event_id), known.sessions[app, each.session_id], each)
        for row, (app, each) in zip(rows, readings, strict=True)
    ]
    connection.executemany(_SET, [(*row, row.id) for row in made])
