"""The summary of each session, kept up to date in the transaction that stores its events.

One row a session and append, whatever the number of its events, and one statement for many of
them; labels and interactions are rows of their own, each once.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.server.store.reading import Label, Reading, Title
from sessionbat.server.store.sqlite_known import KnownRows, KnownSession
from sessionbat.server.store.sqlite_labels import Labelled, add_labels
from sessionbat.server.store.sqlite_many import insert_many, numbers_to_come, with_values


def add_to_sessions(
    connection: sqlite3.Connection, readings: Sequence[tuple[int, Reading]], known: KnownRows
) -> None:
    """Add events, each with its app's number, to the summaries of their sessions.

    Afterwards ``known`` has the rows of these sessions and of these interactions.
    """
    tallies = _tally(readings)
    sessions = _find_sessions(connection, list(tallies), known)
    interactions = _find_new_interactions(connection, sessions, tallies, known)
    new_of = Counter(session for _, session, _ in interactions)
    insert_many(
        connection,
        _INSERT,
        [
            tally.row(sessions[key].row, *key, new_of[sessions[key].row])
            for key, tally in tallies.items()
        ],
        _OR_ADD,
    )
    insert_many(connection, "INSERT INTO interactions (id, session, interaction_id)", interactions)
    add_labels(
        connection,
        [Labelled(key[0], sessions[key], tally.label_sets) for key, tally in tallies.items()],
        known,
    )


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

    def row(self, number: int, app: int, session_id: str, interactions: int) -> tuple[Any, ...]:
        """Give what is inserted, or added to the row that is there."""
        return (
            number,
            app,
            session_id,
            interactions,
            self.first_at_us,
            self.last_at_us,
            self.observations,
            self.llm_calls,
            self.tool_calls,
            self.retrievals,
            self.errors,
            self.input_tokens,
            self.output_tokens,
            self.cost_nanos,
            self.latency_ms,
            self.title.words,
            self.title.rank,
            self.title.at_us,
        )


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
_INSERT = """
    INSERT INTO sessions (
        id, app, session_id, interactions, first_at_us, last_at_us, observations, llm_calls,
        tool_calls, retrievals, errors, input_tokens, output_tokens, cost_nanos, latency_ms, title,
        title_rank, title_at_us
    )
"""
_OR_ADD = f"""
    ON CONFLICT DO UPDATE SET
        interactions = interactions + excluded.interactions,
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
"""

_Key = tuple[int, str]


def _find_sessions(
    connection: sqlite3.Connection, keys: Sequence[_Key], known: KnownRows
) -> dict[_Key, KnownSession]:
    """Find the sessions' rows; what is not there gets the number of a row to come."""
    unknown = [key for key in keys if key not in known.sessions]
    if unknown:
        there = dict(
            with_values(
                connection,
                "SELECT column1, id FROM {} CROSS JOIN sessions"
                " ON app = column2 AND session_id = column3",
                [(place, *key) for place, key in enumerate(unknown)],
            )
        )
        numbers = numbers_to_come(connection, "sessions")
        for place, key in enumerate(unknown):
            row = there.get(place)
            known.sessions[key] = KnownSession(
                next(numbers) if row is None else row, is_whole=row is None
            )
        known.entries += len(unknown)
    return {key: known.sessions[key] for key in keys}


def _find_new_interactions(
    connection: sqlite3.Connection,
    sessions: Mapping[_Key, KnownSession],
    tallies: Mapping[_Key, _Tally],
    known: KnownRows,
) -> list[tuple[int, int, str]]:
    """Give the interactions to insert: number, session, id. Afterwards all are known."""
    unknown = [
        (session, interaction_id)
        for key, session in sessions.items()
        for interaction_id in tallies[key].interaction_ids - session.interactions.keys()
    ]
    if not unknown:
        return []
    known.entries += len(unknown)
    there = dict(
        with_values(
            connection,
            "SELECT column1, id FROM {} CROSS JOIN interactions"
            " ON session = column2 AND interaction_id = column3",
            [
                (place, session.row, interaction_id)
                for place, (session, interaction_id) in enumerate(unknown)
                if not session.is_whole
            ],
        )
    )
    numbers = numbers_to_come(connection, "interactions")
    new: list[tuple[int, int, str]] = []
    for place, (session, interaction_id) in enumerate(unknown):
        row = there.get(place)
        if row is None:
            row = next(numbers)
            new.append((row, session.row, interaction_id))
        session.interactions[interaction_id] = row
    return new
