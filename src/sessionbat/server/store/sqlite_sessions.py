"""The summary of each session, kept up to date in the transaction that stores its events.

One upsert a session and append, whatever the number of its events; its labels and interactions are
rows of their own, each once.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.server.store.reading import Label, Reading, Title
from sessionbat.server.store.sqlite_known import KnownRows, KnownSession


def add_to_sessions(
    connection: sqlite3.Connection, readings: Sequence[tuple[int, Reading]], known: KnownRows
) -> None:
    """Add events, each with its app's number, to the summaries of their sessions.

    Afterwards ``known`` has the rows of these sessions and of these interactions.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM sessions").fetchone()
    new_labels: list[tuple[int, int]] = []
    for (app, session_id), tally in _tally(readings).items():
        row = _upsert(connection, app, session_id, tally)
        session = known.sessions.get((app, session_id))
        if session is None:
            session = known.sessions[app, session_id] = KnownSession(row, is_whole=row > last)
            known.entries += 1
        _add_interactions(connection, session, tally.interaction_ids, known)
        new_labels += _find_new_labels(connection, app, session, tally.label_sets, known)
    _insert_labels(connection, new_labels)


def row_of(
    connection: sqlite3.Connection, select: str | None, insert: str, values: tuple[Any, ...]
) -> tuple[int, bool]:
    """Find a row, or insert it: its number, and whether it is new. Without ``select``, it is."""
    found = None if select is None else connection.execute(select, values).fetchone()
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
    label_sets: set[frozenset[Label]] = field(default_factory=set)

    def add(self, reading: Reading) -> None:
        at_us, kind = reading.at_us, reading.kind
        if at_us < self.first_at_us:
            self.first_at_us = at_us
        if at_us > self.last_at_us:
            self.last_at_us = at_us
        self.observations += 1
        if kind == LLM:
            self.llm_calls += 1
        elif kind == TOOL:
            self.tool_calls += 1
        elif kind == RETRIEVAL:
            self.retrievals += 1
        self.errors += reading.failed
        self.input_tokens += reading.input_tokens or 0
        self.output_tokens += reading.output_tokens or 0
        if reading.cost_usd is not None:
            self.cost_nanos += reading.cost_nanos
        if reading.latency_ms is not None and reading.latency_ms > self.latency_ms:
            self.latency_ms = reading.latency_ms
        self.label_sets.add(reading.own_labels)
        self.label_sets.add(reading.shared_labels)
        if reading.interaction_id is not None:
            self.interaction_ids.add(reading.interaction_id)
        if self.title.can_be_bettered_at(at_us):
            title = reading.title
            if title.is_better_than(self.title):
                self.title = title


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
    session: KnownSession,
    interaction_ids: Set[str],
    known: KnownRows,
) -> None:
    new = 0
    unknown = interaction_ids - session.interactions.keys()
    known.entries += len(unknown)
    for interaction_id in unknown:
        session.interactions[interaction_id], is_new = row_of(
            connection,
            None
            if session.is_whole
            else "SELECT id FROM interactions WHERE session = ? AND interaction_id = ?",
            "INSERT INTO interactions (session, interaction_id) VALUES (?, ?)",
            (session.row, interaction_id),
        )
        new += is_new
    if new:
        connection.execute(
            "UPDATE sessions SET interactions = interactions + ? WHERE id = ?", (new, session.row)
        )


def _find_new_labels(
    connection: sqlite3.Connection,
    app: int,
    session: KnownSession,
    label_sets: Set[frozenset[Label]],
    known: KnownRows,
) -> list[tuple[int, int]]:
    """Find the labels that a session has not had: row numbers of label and session."""
    unknown: set[Label] = set()
    for labels in label_sets - session.label_sets:
        unknown |= labels - session.labels
        session.label_sets.add(labels)
        known.entries += 1
    session.labels |= unknown
    known.entries += 2 * len(unknown)  # perhaps each is new of its app as well
    rows = [(_label_row(connection, app, label, known), session.row) for label in unknown]
    if session.is_whole:
        return rows
    has_it = "SELECT 1 FROM session_labels WHERE label = ? AND session = ?"
    return [row for row in rows if connection.execute(has_it, row).fetchone() is None]


def _insert_labels(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> None:
    connection.executemany("INSERT INTO session_labels VALUES (?, ?)", rows)
    connection.executemany(
        "UPDATE labels SET sessions = sessions + ? WHERE id = ?",
        [(count, label) for label, count in Counter(label for label, _ in rows).items()],
    )


def _label_row(connection: sqlite3.Connection, app: int, label: Label, known: KnownRows) -> int:
    row = known.labels.get((app, label))
    if row is None:
        row = known.labels[app, label] = row_of(
            connection,
            "SELECT id FROM labels WHERE key = ? AND value = ? AND app = ?",
            "INSERT INTO labels (key, value, app) VALUES (?, ?, ?)",
            (*label, app),
        )[0]
    return row
