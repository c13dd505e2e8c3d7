"""The summary of each session, kept up to date in the transaction that stores its events.

One upsert a session and append, whatever the number of its events; its labels and interactions are
rows of their own, each once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.server.store.reading import Label, Reading, Title

#: Row numbers of sessions by app and id, and of interactions by session and id.
Rows = tuple[dict[tuple[int, str], int], dict[tuple[int, str | None], int]]


def add_to_sessions(
    connection: sqlite3.Connection, readings: Sequence[tuple[int, Reading]]
) -> Rows:
    """Add events, each with its app's number, to the summaries of their sessions."""
    sessions: dict[tuple[int, str], int] = {}
    interactions: dict[tuple[int, str | None], int] = {}
    label_rows: dict[tuple[int, Label], int] = {}
    for (app, session_id), tally in _tally(readings).items():
        session = _upsert(connection, app, session_id, tally)
        sessions[app, session_id] = session
        _add_interactions(connection, session, tally.interaction_ids, interactions)
        _add_labels(connection, app, session, tally.labels, label_rows)
    return sessions, interactions


def row_of(
    connection: sqlite3.Connection, select: str, insert: str, values: tuple[Any, ...]
) -> tuple[int, bool]:
    """Find a row, or insert it: its number, and whether it is new."""
    found = connection.execute(select, values).fetchone()
    if found is not None:
        return int(found[0]), False
    row = connection.execute(insert, values).lastrowid
    assert row is not None
    return row, True


@dataclass(slots=True)
class _Tally:
    """What one append adds to one session."""

    first_at_us: int
    last_at_us: int
    title: Title
    observations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    retrievals: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    latency_ms: float = 0.0
    interaction_ids: set[str] = field(default_factory=set)
    labels: set[Label] = field(default_factory=set)

    def add(self, reading: Reading) -> None:
        self.first_at_us = min(self.first_at_us, reading.at_us)
        self.last_at_us = max(self.last_at_us, reading.at_us)
        self.observations += 1
        self.llm_calls += reading.kind == LLM
        self.tool_calls += reading.kind == TOOL
        self.retrievals += reading.kind == RETRIEVAL
        self.errors += reading.failed
        self.input_tokens += reading.input_tokens or 0
        self.output_tokens += reading.output_tokens or 0
        self.cost_nanos += reading.cost_nanos
        self.latency_ms = max(self.latency_ms, reading.latency_ms or 0.0)
        self.labels |= reading.labels
        if reading.interaction_id is not None:
            self.interaction_ids.add(reading.interaction_id)
        if reading.title.is_better_than(self.title):
            self.title = reading.title


def _tally(readings: Sequence[tuple[int, Reading]]) -> dict[tuple[int, str], _Tally]:
    tallies: dict[tuple[int, str], _Tally] = {}
    for app, reading in readings:
        key = app, reading.session_id
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = _Tally(reading.at_us, reading.at_us, reading.title)
        tally.add(reading)
    return tallies


_IS_BETTER_TITLE = "(excluded.title_rank, -excluded.title_at_us) > (title_rank, -title_at_us)"
_UPSERT = f"""
    INSERT INTO sessions (
        app, session_id, first_at_us, last_at_us, observations, llm_calls, tool_calls, retrievals,
        errors, input_tokens, output_tokens, cost_nanos, latency_ms, title, title_rank, title_at_us
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (app, session_id) DO UPDATE SET
        first_at_us = min(first_at_us, excluded.first_at_us),
        last_at_us = max(last_at_us, excluded.last_at_us),
        observations = observations + excluded.observations,
        llm_calls = llm_calls + excluded.llm_calls,
        tool_calls = tool_calls + excluded.tool_calls,
        retrievals = retrievals + excluded.retrievals,
        errors = errors + excluded.errors,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nanos = cost_nanos + excluded.cost_nanos,
        latency_ms = max(latency_ms, excluded.latency_ms),
        title = iif({_IS_BETTER_TITLE}, excluded.title, title),
        title_rank = iif({_IS_BETTER_TITLE}, excluded.title_rank, title_rank),
        title_at_us = iif({_IS_BETTER_TITLE}, excluded.title_at_us, title_at_us)
    RETURNING id
"""


def _upsert(connection: sqlite3.Connection, app: int, session_id: str, tally: _Tally) -> int:
    (session,) = connection.execute(
        _UPSERT,
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
            tally.cost_nanos,
            tally.latency_ms,
            tally.title.words,
            tally.title.rank,
            tally.title.at_us,
        ),
    ).fetchone()
    return int(session)


def _add_interactions(
    connection: sqlite3.Connection,
    session: int,
    interaction_ids: Iterable[str],
    rows: dict[tuple[int, str | None], int],
) -> None:
    new = 0
    for interaction_id in interaction_ids:
        rows[session, interaction_id], is_new = row_of(
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


def _add_labels(
    connection: sqlite3.Connection,
    app: int,
    session: int,
    labels: Iterable[Label],
    rows: dict[tuple[int, Label], int],
) -> None:
    for label in labels:
        row = rows.get((app, label))
        if row is None:
            row = rows[app, label] = row_of(
                connection,
                "SELECT id FROM labels WHERE key = ? AND value = ? AND app = ?",
                "INSERT INTO labels (key, value, app) VALUES (?, ?, ?)",
                (*label, app),
            )[0]
        added = connection.execute(
            "INSERT OR IGNORE INTO session_labels VALUES (?, ?)", (row, session)
        ).rowcount
        if added > 0:
            connection.execute("UPDATE labels SET sessions = sessions + 1 WHERE id = ?", (row,))
