"""Events into rows: what ``append`` does inside its transaction.

What is new is decided first; only then are sessions, interactions, events and payloads written, so
a repeated event leaves no trace, not even an empty session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.server.records import ReceivedEvent

PLAIN: Final = 0
ZSTD: Final = 1

Compress = Callable[[bytes], bytes]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_YEAR_9999_US: Final = 253_370_764_800_000_000
# No call has a thousand million tokens; what claims more must not overflow the session's sum.
_MAX_TOKENS: Final = 10**9


def insert_events(
    connection: sqlite3.Connection, events: Sequence[ReceivedEvent], compress: Compress
) -> list[bool]:
    """Insert what is new, inside the caller's transaction; say for each event whether it was."""
    apps = _app_rows(connection, {received.event["app"] for received in events})
    is_new = _find_new(connection, apps, events)
    rows = [
        _read_columns(apps[received.event["app"]], received)
        for received, new in zip(events, is_new, strict=True)
        if new
    ]
    if rows:
        _insert_rows(connection, rows, compress)
    return is_new


def rfc3339(at_us: int) -> str:
    """Write microseconds since 1970 as RFC 3339 in UTC."""
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Columns(NamedTuple):
    raw: bytes
    app: int
    event_id: str
    session_id: str
    interaction_id: str | None
    at_us: int
    received_at_us: int
    kind: str
    name: str | None
    model: str | None
    failed: bool
    latency_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


@dataclass(slots=True)
class _Tally:
    """What one append adds to one session."""

    first_at_us: int
    last_at_us: int
    observations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    retrievals: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    interaction_ids: set[str] = field(default_factory=set)

    def add(self, row: _Columns) -> None:
        self.first_at_us = min(self.first_at_us, row.at_us)
        self.last_at_us = max(self.last_at_us, row.at_us)
        self.observations += 1
        self.llm_calls += row.kind == LLM
        self.tool_calls += row.kind == TOOL
        self.retrievals += row.kind == RETRIEVAL
        self.errors += row.failed
        self.input_tokens += row.input_tokens or 0
        self.output_tokens += row.output_tokens or 0
        if row.interaction_id is not None:
            self.interaction_ids.add(row.interaction_id)


def _app_rows(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    return {
        name: _row_of(
            connection,
            "SELECT id FROM apps WHERE name = ?",
            "INSERT INTO apps (name) VALUES (?)",
            (name,),
        )[0]
        for name in names
    }


def _row_of(
    connection: sqlite3.Connection, select: str, insert: str, values: tuple[Any, ...]
) -> tuple[int, bool]:
    """Find a row, or insert it: its number, and whether it is new."""
    found = connection.execute(select, values).fetchone()
    if found is not None:
        return int(found[0]), False
    row = connection.execute(insert, values).lastrowid
    assert row is not None
    return row, True


def _find_new(
    connection: sqlite3.Connection, apps: dict[str, int], events: Sequence[ReceivedEvent]
) -> list[bool]:
    seen: dict[str, set[str]] = {}
    for name, app in apps.items():
        ids = [received.event["id"] for received in events if received.event["app"] == name]
        seen[name] = {
            event_id
            for (event_id,) in connection.execute(
                "SELECT events.event_id FROM json_each(?) AS given CROSS JOIN events"
                " ON events.app = ? AND events.event_id = given.value",
                (orjson.dumps(ids).decode(), app),
            )
        }
    is_new = []
    for received in events:
        ids_seen, event_id = seen[received.event["app"]], received.event["id"]
        is_new.append(event_id not in ids_seen)
        ids_seen.add(event_id)
    return is_new


def _read_columns(app: int, received: ReceivedEvent) -> _Columns:
    event = received.event
    observation = event["observation"]
    metrics = observation.get("metrics") or {}
    return _Columns(
        raw=received.raw,
        app=app,
        event_id=event["id"],
        session_id=event["session_id"],
        interaction_id=event.get("interaction_id") or None,
        at_us=_parse_time(event.get("created_at"), otherwise=received.received_at_us),
        received_at_us=received.received_at_us,
        kind=observation["kind"],
        name=_text(observation.get("name")),
        model=_text((observation.get("metadata") or {}).get("model")),
        failed=observation.get("error") is not None,
        latency_ms=_number(metrics.get("latency_ms")),
        input_tokens=_tokens(metrics.get("input_tokens")),
        output_tokens=_tokens(metrics.get("output_tokens")),
        cost_usd=_number(metrics.get("cost_usd")),
    )


def _parse_time(value: Any, *, otherwise: int) -> int:
    if not isinstance(value, str):
        return otherwise
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return otherwise
    at_us = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    return at_us if 0 <= at_us < _YEAR_9999_US else otherwise


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _tokens(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_TOKENS else None


def _insert_rows(
    connection: sqlite3.Connection, rows: Sequence[_Columns], compress: Compress
) -> None:
    sessions: dict[tuple[int, str], int] = {}
    interactions: dict[tuple[int, str | None], int | None] = {}
    for (app, session_id), tally in _tally(rows).items():
        session = _add_to_session(connection, app, session_id, tally)
        sessions[app, session_id] = session
        interactions[session, None] = None
        _add_interactions(connection, session, tally.interaction_ids, interactions)

    (last,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
    ).fetchone()
    numbered = [(last + n, sessions[row.app, row.session_id], row) for n, row in enumerate(rows, 1)]
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (n, row.app, row.event_id, session, interactions[session, row.interaction_id], *row[5:])
            for n, session, row in numbered
        ),
    )
    connection.executemany(
        "INSERT INTO payloads (event, codec, data) VALUES (?, ?, ?)",
        ((n, *_encode(row.raw, compress)) for n, _, row in numbered),
    )


def _tally(rows: Sequence[_Columns]) -> dict[tuple[int, str], _Tally]:
    tallies: dict[tuple[int, str], _Tally] = {}
    for row in rows:
        key = row.app, row.session_id
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally(row.at_us, row.at_us)
        tally.add(row)
    return tallies


def _add_to_session(
    connection: sqlite3.Connection, app: int, session_id: str, tally: _Tally
) -> int:
    (session,) = connection.execute(
        """
        INSERT INTO sessions (
            app, session_id, first_at_us, last_at_us, observations,
            llm_calls, tool_calls, retrievals, errors, input_tokens, output_tokens
        )
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (app, session_id) DO UPDATE SET
            first_at_us = min(first_at_us, excluded.first_at_us),
            last_at_us = max(last_at_us, excluded.last_at_us),
            observations = observations + excluded.observations,
            llm_calls = llm_calls + excluded.llm_calls,
            tool_calls = tool_calls + excluded.tool_calls,
            retrievals = retrievals + excluded.retrievals,
            errors = errors + excluded.errors,
            input_tokens = input_tokens + excluded.input_tokens,
            output_tokens = output_tokens + excluded.output_tokens
        RETURNING id
        """,
        (
            app,
            session_id,
            tally.first_at_us,
            tally.last_at_us,
            tally.observations,
            tally.llm_calls,
            tally.tool_calls,
            tally.retrievals,
            tally.errors,
            tally.input_tokens,
            tally.output_tokens,
        ),
    ).fetchone()
    return int(session)


def _add_interactions(
    connection: sqlite3.Connection,
    session: int,
    interaction_ids: Iterable[str],
    rows: dict[tuple[int, str | None], int | None],
) -> None:
    new = 0
    for interaction_id in interaction_ids:
        rows[session, interaction_id], is_new = _row_of(
            connection,
            "SELECT id FROM interactions WHERE session = ? AND interaction_id = ?",
            "INSERT INTO interactions (session, interaction_id) VALUES (?, ?)",
            (session, interaction_id),
        )
        new += is_new
    if new:
        connection.execute(
            "UPDATE sessions SET interactions = interactions + ? WHERE id = ?", (new, session)
        )


def _encode(raw: bytes, compress: Compress) -> tuple[int, bytes]:
    compressed = compress(raw)
    return (ZSTD, compressed) if len(compressed) < len(raw) else (PLAIN, raw)
