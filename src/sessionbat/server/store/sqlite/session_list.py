"""Queries for the session list: filters, four orders, and the choice of index.

Each label counts its sessions. With a rare label in the filter, a query starts there and sorts the
result. With common labels only, it walks the list in order and probes each session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sessionbat.server.reading.figures import MAX_LABEL_CHARACTERS, Label, microseconds, rfc3339
from sessionbat.server.records import AppActivity, Page, SessionFilter, SessionSort, SessionSummary
from sessionbat.server.store.questions import (
    AppActivityQuery,
    AppsQuery,
    IdleSessionsQuery,
    SessionQuery,
    SessionsQuery,
)
from sessionbat.server.store.sqlite.connections import Reader
from sessionbat.server.store.sqlite.paging import Filling, Place, read_cursor


class _Row(NamedTuple):
    id: int
    app: str
    session_id: str
    first_at_us: int
    last_at_us: int
    interactions: int
    observations: int
    feedback: int
    llm_calls: int
    tool_calls: int
    retrievals: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    estimated_nanos: int
    title: str
    times_known: int


#: Fields that are no column of ``sessions`` by their own name.
_EXPRESSIONS: Final = {
    "id": "sessions.id",
    "app": "apps.name",
    "times_known": """NOT EXISTS (
        SELECT 1 FROM labels CROSS JOIN session_labels
        ON session_labels.label = labels.id AND session_labels.session = sessions.id
        WHERE labels.app = sessions.app AND labels.key = 'times' AND labels.value = 'unknown'
    )""",
}
_COLUMNS: Final = ", ".join(_EXPRESSIONS.get(name, name) for name in _Row._fields)

_ORDERS: Final[dict[SessionSort, str]] = {
    "last_activity": "last_at_us",
    "duration": "(last_at_us - first_at_us)",
    "cost": "cost_nanos",
    "errors": "errors",
}
# The mark in the cursors of each.
_MARKS: Final[dict[SessionSort, str]] = {
    "last_activity": "",
    "duration": "d",
    "cost": "c",
    "errors": "e",
}
_ALWAYS: Final = 2**63 - 1
_BEFORE_ALL: Final = Place(_ALWAYS, _ALWAYS)
_Condition = tuple[str, Any]


def list_sessions(reader: Reader, query: SessionsQuery) -> Page[SessionSummary]:
    """List sessions, using the index that suits the filters."""
    connection, app, where, sort = reader.connection, query.app, query.where, query.sort
    order = _ORDERS[sort]
    source, conditions = "sessions", list(_conditions(app, where, sort))
    if app is not None and where.error and sort == "last_activity":
        source = "sessions INDEXED BY sessions_that_failed"
    for n, rows in enumerate(_label_rows(connection, app, where)):
        numbers = ", ".join(str(number) for number, _ in rows)
        if n == 0 and _is_rare(connection, sum(count for _, count in rows), query.limit):
            source = "session_labels CROSS JOIN sessions ON sessions.id = session_labels.session"
            conditions.append((f"session_labels.label IN ({numbers})", None))
        else:
            conditions.append(
                (
                    "EXISTS (SELECT 1 FROM session_labels AS l"
                    f" WHERE l.label IN ({numbers}) AND l.session = sessions.id)",
                    None,
                )
            )
    if query.after is not None:
        start = read_cursor(query.after, _BEFORE_ALL, _MARKS[sort])
        conditions.append((f"({order}, sessions.id) < (?, ?)", start))
    rows = connection.execute(
        f"SELECT {order}, {_COLUMNS} FROM {source} CROSS JOIN apps ON apps.id = sessions.app"
        f" WHERE {' AND '.join(['true', *(text for text, _ in conditions)])}"
        f" ORDER BY {order} DESC, sessions.id DESC LIMIT ?",
        (*_values(conditions), query.limit + 1),
    ).fetchall()
    filling = Filling[SessionSummary](query.limit)
    for place, *columns in rows[: query.limit]:
        row = _Row._make(columns)
        filling.add(Place(place, row.id), _summary(row))
    return filling.page(is_cut=len(rows) > query.limit, mark=_MARKS[sort])


def get_session(reader: Reader, query: SessionQuery) -> SessionSummary | None:
    """Sum up one session; None when there is none."""
    row = reader.connection.execute(
        f"SELECT {_COLUMNS} FROM sessions JOIN apps ON apps.id = app"
        " WHERE apps.name = ? AND session_id = ?",
        (query.app, query.session_id),
    ).fetchone()
    return None if row is None else _summary(_Row._make(row))


def list_apps(reader: Reader, query: AppsQuery) -> list[str]:
    """List the names of apps that have sessions, in alphabetical order."""
    rows = reader.connection.execute(
        "SELECT name FROM apps WHERE (? IS NULL OR name = ?) AND EXISTS"
        " (SELECT 1 FROM sessions WHERE sessions.app = apps.id) ORDER BY name",
        (query.app, query.app),
    )
    return [name for (name,) in rows]


def list_app_activity(reader: Reader, query: AppActivityQuery) -> list[AppActivity]:
    """List the apps that have sessions and their activity; reads a single index only."""
    rows = reader.connection.execute(
        "SELECT name, count(*), max(last_at_us) FROM apps"
        " CROSS JOIN sessions ON sessions.app = apps.id"
        " WHERE ? IS NULL OR name = ? GROUP BY apps.id ORDER BY name",
        (query.app, query.app),
    )
    return [AppActivity(name, count, rfc3339(last_at_us)) for name, count, last_at_us in rows]


def list_idle(reader: Reader, query: IdleSessionsQuery) -> list[SessionSummary]:
    """List sessions, the longest idle first, of one app or of all."""
    of_app, values = "", list[Any]()
    if query.app is not None:
        of_app, values = "sessions.app = (SELECT id FROM apps WHERE name = ?) AND ", [query.app]
    before_us = _ALWAYS if query.before is None else microseconds(query.before)
    rows = reader.connection.execute(
        f"SELECT {_COLUMNS} FROM sessions CROSS JOIN apps ON apps.id = sessions.app"
        f" WHERE {of_app}last_at_us < ? ORDER BY last_at_us, sessions.id LIMIT ?",
        (*values, before_us, query.limit),
    ).fetchall()
    return [_summary(row) for row in map(_Row._make, rows)]


def _summary(row: _Row) -> SessionSummary:
    return SessionSummary(
        app=row.app,
        session_id=row.session_id,
        first_at=rfc3339(row.first_at_us),
        last_at=rfc3339(row.last_at_us),
        interactions=row.interactions,
        observations=row.observations,
        feedback=row.feedback,
        llm_calls=row.llm_calls,
        tool_calls=row.tool_calls,
        retrievals=row.retrievals,
        errors=row.errors,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_nanos / 1e9,
        cost_estimated=row.estimated_nanos / 1e9,
        title=row.title,
        times_known=bool(row.times_known),
    )


def _is_rare(connection: sqlite3.Connection, count: int, limit: int) -> bool:
    """Whether looking up and sorting this many sessions is cheaper than walking the list."""
    (sessions,) = connection.execute("SELECT coalesce(max(id), 0) FROM sessions").fetchone()
    return count * count <= limit * int(sessions)  # the walk passes limit × sessions / count


def _conditions(app: str | None, where: SessionFilter, sort: SessionSort) -> Iterator[_Condition]:
    # A plus keeps SQLite from taking a column's index for a filter: it would then have to sort.
    off = "" if sort == "last_activity" else "+"
    if app is not None:
        yield "sessions.app = (SELECT id FROM apps WHERE name = ?)", app
    if where.error is not None:
        yield (f"{off}errors > 0" if where.error else "+errors = 0"), None
    if where.since is not None:
        yield f"{off}last_at_us >= ?", microseconds(where.since)
    if where.until is not None:
        yield "first_at_us < ?", microseconds(where.until)
    for least, most, column in (
        (where.min_tokens, where.max_tokens, "input_tokens + output_tokens"),
        (_nanos(where.min_cost_usd), _nanos(where.max_cost_usd), "cost_nanos"),
        (where.min_latency_ms, where.max_latency_ms, "latency_ms"),
    ):
        if least is not None:
            yield f"+({column}) >= ?", least
        if most is not None:
            yield f"+({column}) <= ?", most


def _nanos(cost_usd: float | None) -> int | None:
    return None if cost_usd is None else round(min(cost_usd, 9e9) * 1e9)


def _values(conditions: Sequence[_Condition]) -> Iterator[Any]:
    for _, value in conditions:
        if isinstance(value, tuple):
            yield from value
        elif value is not None:
            yield value


def _label_rows(
    connection: sqlite3.Connection, app: str | None, where: SessionFilter
) -> list[list[tuple[int, int]]]:
    """Look up the filter's labels in each app, with their number of sessions; rarest first."""
    found = []
    for key, value in _labels(where):
        found.append(
            connection.execute(
                "SELECT labels.id, sessions FROM labels JOIN apps ON apps.id = app"
                " WHERE key = ? AND value = ? AND (? IS NULL OR name = ?)",
                (key, value[:MAX_LABEL_CHARACTERS], app, app),
            ).fetchall()
        )
    return sorted(found, key=lambda rows: sum(count for _, count in rows))


def _labels(where: SessionFilter) -> Iterator[Label]:
    for key in ("tag", "model", "tool", "kind", "error_type"):
        value = getattr(where, key)
        if value is not None:
            yield key, value
    for key, value in where.context:
        yield f"context.{key}", value
