"""The rows of ``spans``: found by trace, by key, by what they share with others, and let go of."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sessionbat.server.store.parts import SpanKey
from sessionbat.server.store.sqlite.many_rows import columns, insert_into, insert_many, with_values

#: Of one trace so many spans are looked at, the newest; its older ones stay where they are.
MAX_SPANS_OF_TRACE: Final = 2000
#: Of the spans that share a key, so many are looked at, the newest.
MAX_SPANS_OF_KEY: Final = 8
# As many are looked through when the event of one of them is deleted.
_MAX_SHARING: Final = 64
#: Rows that one step of ``forget_idle`` looks at.
_FORGOTTEN_AT_ONCE: Final = 500

_TRACE: Final = re.compile("[0-9a-f]{32}")


class SpanRow(NamedTuple):
    """A row; each field is a column of that name."""

    id: int
    app: int
    trace: str | bytes
    span: str
    received_at_us: int
    arrived_at_us: int
    facts: bytes
    event: int | None
    place: bytes | None
    names_session: str | None
    held: bytes | None

    @property
    def key(self) -> SpanKey:
        """Its key, as it was received."""
        trace = self.trace
        return SpanKey(trace.hex() if isinstance(trace, bytes) else trace, self.span)


class _Join(NamedTuple):
    app: int
    key: str
    span: int


_COLUMNS: Final = columns(SpanRow)
_INSERT: Final = insert_into("spans", SpanRow)
_INSERT_JOINS: Final = insert_into("span_joins", _Join)
_UPDATE: Final = (
    "UPDATE spans SET (arrived_at_us, facts, event, place, names_session, held)"
    " = (?, ?, ?, ?, ?, ?) WHERE id = ?"
)


def pack_trace(trace: str) -> str | bytes:
    """Write a trace's id as the file holds it."""
    return bytes.fromhex(trace) if _TRACE.fullmatch(trace) else trace


def of_traces(connection: sqlite3.Connection, app: int, traces: Iterable[str]) -> list[SpanRow]:
    """Load the newest spans of each of these traces, the newest first."""
    named = ", ".join(f"spans.{name}" for name in SpanRow._fields)
    found = with_values(
        connection,
        f"SELECT {named} FROM {{}} CROSS JOIN spans ON spans.id IN (SELECT id FROM spans"
        " WHERE app = column1 AND trace = column2 ORDER BY id DESC"
        f" LIMIT {MAX_SPANS_OF_TRACE})",
        [(app, pack_trace(trace)) for trace in traces],
    )
    return sorted(map(SpanRow._make, found), key=_number, reverse=True)


def _number(row: SpanRow) -> int:
    return row.id


def of_keys(connection: sqlite3.Connection, app: int, keys: Sequence[SpanKey]) -> list[SpanRow]:
    """Load the spans with these keys, those that are there."""
    named = ", ".join(f"spans.{name}" for name in SpanRow._fields)
    found = with_values(
        connection,
        f"SELECT {named} FROM {{}} CROSS JOIN spans"
        " ON app = column1 AND trace = column2 AND span = column3",
        [(app, pack_trace(key.trace), key.span) for key in keys],
    )
    return [SpanRow._make(row) for row in found]


def traces_that_share(connection: sqlite3.Connection, app: int, keys: Iterable[str]) -> set[str]:
    """Find the traces whose spans have one of these keys."""
    found = with_values(
        connection,
        "SELECT DISTINCT trace FROM {} CROSS JOIN spans ON spans.id IN (SELECT span FROM span_joins"
        " WHERE app = column1 AND key = column2 ORDER BY span DESC"
        f" LIMIT {MAX_SPANS_OF_KEY})",
        [(app, key) for key in keys],
    )
    return {trace.hex() if isinstance(trace, bytes) else trace for (trace,) in found}


def last_number(connection: sqlite3.Connection) -> int:
    """Give the highest number that a span ever had."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'spans'").fetchone()
    return 0 if row is None else int(row[0])


def insert(connection: sqlite3.Connection, rows: Sequence[SpanRow]) -> None:
    """Insert new spans."""
    insert_many(connection, _INSERT, rows)


def insert_joins(
    connection: sqlite3.Connection, joins: Iterable[tuple[int, Iterable[str], int]]
) -> None:
    """Note for each span of an app by which keys it is found."""
    rows = [_Join(app, key, span) for app, keys, span in joins for key in keys]
    insert_many(connection, _INSERT_JOINS, rows, "ON CONFLICT DO NOTHING")


def update(connection: sqlite3.Connection, rows: Sequence[SpanRow]) -> None:
    """Write spans that were there."""
    connection.executemany(
        _UPDATE,
        [(r.arrived_at_us, r.facts, r.event, r.place, r.names_session, r.held, r.id) for r in rows],
    )


def set_unsettled(
    connection: sqlite3.Connection, app: int, traces: Iterable[str], *, is_settled: bool
) -> None:
    """Note that events of these traces are yet to be moved, or that none is any more."""
    if is_settled and unsettled(connection) is None:
        return  # nearly always
    statement = (
        "DELETE FROM unsettled_traces WHERE app = ? AND trace = ?"
        if is_settled
        else "INSERT OR IGNORE INTO unsettled_traces (app, trace) VALUES (?, ?)"
    )
    connection.executemany(statement, [(app, pack_trace(trace)) for trace in traces])


def unsettled(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """Give the app's name and the id of a trace whose events are yet to be moved."""
    row = connection.execute(
        "SELECT name, trace FROM unsettled_traces JOIN apps ON apps.id = app LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    name, trace = row
    return name, trace.hex() if isinstance(trace, bytes) else trace


def delete_of_events(connection: sqlite3.Connection, events: Sequence[int]) -> None:
    """Delete the spans whose events are deleted, and what is held of the same traces and calls."""
    gone = with_values(
        connection, "SELECT spans.id FROM {} CROSS JOIN spans ON event = column1", [*zip(events)]
    )
    with_them = with_values(
        connection,
        "SELECT DISTINCT other.id FROM {} CROSS JOIN spans AS one ON one.id = column1"
        " CROSS JOIN spans AS other ON other.app = one.app AND other.trace = one.trace"
        " WHERE other.held IS NOT NULL",
        gone,
    )
    sharing = with_values(
        connection,
        "SELECT DISTINCT other.id FROM {} CROSS JOIN span_joins AS one ON one.span = column1"
        " CROSS JOIN spans AS other ON other.id IN (SELECT another.span FROM span_joins AS another"
        " WHERE another.app = one.app AND another.key = one.key"
        f" ORDER BY another.span DESC LIMIT {_MAX_SHARING}) WHERE other.held IS NOT NULL",
        gone,
    )
    _delete(connection, {number for (number,) in (*gone, *with_them, *sharing)})


def delete_held(connection: sqlite3.Connection, app: str, session_id: str) -> None:
    """Delete what is held of a session: parts that name it and are no event yet."""
    found = connection.execute(
        "SELECT id FROM spans WHERE held IS NOT NULL AND names_session = ?"
        " AND app = (SELECT id FROM apps WHERE name = ?)",
        (session_id, app),
    ).fetchall()
    _delete(connection, {number for (number,) in found})


class Idle(NamedTuple):
    """How far a step of ``forget_idle`` has come."""

    arrived_at_us: int
    number: int
    forgotten: int


def has_idle(connection: sqlite3.Connection, before_us: int) -> bool:
    """Whether there are spans to which nothing has come since a time."""
    row = connection.execute("SELECT 1 FROM spans WHERE arrived_at_us < ? LIMIT 1", (before_us,))
    return row.fetchone() is not None


def forget_idle(connection: sqlite3.Connection, before_us: int, after: Idle) -> Idle | None:
    """Delete some spans of traces to which nothing has come since a time; None when all are.

    Of a trace that goes on, those go that are not looked at any more.
    """
    rows = connection.execute(
        "SELECT id, app, trace, arrived_at_us FROM spans"
        " WHERE arrived_at_us < ? AND (arrived_at_us, id) > (?, ?)"
        f" ORDER BY arrived_at_us, id LIMIT {_FORGOTTEN_AT_ONCE}",
        (before_us, after.arrived_at_us, after.number),
    ).fetchall()
    if not rows:
        return None
    kept_from = {
        (app, trace): _kept_from(connection, app, trace, before_us) for _, app, trace, _ in rows
    }
    gone = {number for number, app, trace, _ in rows if number < kept_from[app, trace]}
    _delete(connection, gone)
    return Idle(rows[-1][3], rows[-1][0], after.forgotten + len(gone))


_ALL: Final = 2**63 - 1


def _kept_from(connection: sqlite3.Connection, app: int, trace: str | bytes, before_us: int) -> int:
    """Give the number of the first span of a trace that stays."""
    newest = connection.execute(
        "SELECT arrived_at_us FROM spans WHERE app = ? AND trace = ? ORDER BY id DESC LIMIT 1",
        (app, trace),
    ).fetchone()
    if newest is None or newest[0] < before_us:
        return _ALL
    row = connection.execute(
        "SELECT id FROM spans WHERE app = ? AND trace = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        (app, trace, MAX_SPANS_OF_TRACE - 1),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _delete(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    rows = [(number,) for number in numbers]
    connection.executemany("DELETE FROM span_joins WHERE span = ?", rows)
    connection.executemany("DELETE FROM spans WHERE id = ?", rows)
