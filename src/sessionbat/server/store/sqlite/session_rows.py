"""Keeps each session's summary up to date, in the transaction that stores its events.

An append writes one row for each session, whatever the number of its events, with one statement for
many sessions. Labels and interactions have rows of their own.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sessionbat.server.store.session_tally import Tally
from sessionbat.server.store.sqlite.known_rows import KnownRows, KnownSession
from sessionbat.server.store.sqlite.label_rows import Labelled, add_labels
from sessionbat.server.store.sqlite.many_rows import insert_into, insert_many, number_rows

#: An app's number and a session's id.
_Key = tuple[int, str]


def find_sessions(
    connection: sqlite3.Connection, keys: Sequence[_Key], known: KnownRows
) -> dict[_Key, KnownSession]:
    """Find the sessions' rows; a missing one gets the number to insert it under.

    The caller has an event for each session. The first event of a session is always new, so the row
    will be inserted.
    """
    unknown = [key for key in keys if key not in known.sessions]
    rows = number_rows(connection, "sessions", ("app", "session_id"), unknown)
    for key, row in zip(unknown, rows, strict=True):
        known.sessions[key] = KnownSession(row.number, is_whole=row.is_new)
    known.entries += len(unknown)
    return {key: known.sessions[key] for key in keys}


def add_to_sessions(
    connection: sqlite3.Connection, tallies: Mapping[_Key, Tally], known: KnownRows
) -> None:
    """Add tallies, by app number and session id, to the rows of their sessions.

    Afterwards ``known`` holds the rows of these sessions and interactions.
    """
    sessions = find_sessions(connection, list(tallies), known)
    interactions = _find_new_interactions(connection, sessions, tallies, known)
    new_of = Counter(row.session for row in interactions)
    insert_many(
        connection,
        _INSERT_SESSIONS,
        [
            _row(tally, sessions[key].row, key, new_of[sessions[key].row])
            for key, tally in tallies.items()
        ],
        _OR_ADD,
    )
    insert_many(connection, _INSERT_INTERACTIONS, interactions)
    add_labels(
        connection,
        [
            Labelled(app, sessions[app, id_], each.label_sets)
            for (app, id_), each in tallies.items()
        ],
        known,
    )


class _SessionRow(NamedTuple):
    id: int
    app: int
    session_id: str
    interactions: int
    first_at_us: int
    last_at_us: int
    feedback: int
    observations: int
    llm_calls: int
    tool_calls: int
    retrievals: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    estimated_nanos: int
    latency_ms: float
    title: str
    title_rank: int
    title_at_us: int


class _InteractionRow(NamedTuple):
    id: int
    session: int
    interaction_id: str


_INSERT_SESSIONS: Final = insert_into("sessions", _SessionRow)
_INSERT_INTERACTIONS: Final = insert_into("interactions", _InteractionRow)
_IS_BETTER_TITLE: Final = (
    "(excluded.title_rank, -excluded.title_at_us) > (title_rank, -title_at_us)"
)
_OR_ADD: Final = f"""
    ON CONFLICT DO UPDATE SET
        interactions = interactions + excluded.interactions,
        first_at_us = min(first_at_us, excluded.first_at_us),
        last_at_us = max(last_at_us, excluded.last_at_us),
        feedback = feedback + excluded.feedback,
        observations = observations + excluded.observations,
        llm_calls = llm_calls + excluded.llm_calls,
        tool_calls = tool_calls + excluded.tool_calls,
        retrievals = retrievals + excluded.retrievals,
        errors = errors + excluded.errors,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nanos = cost_nanos + excluded.cost_nanos,
        estimated_nanos = estimated_nanos + excluded.estimated_nanos,
        latency_ms = max(latency_ms, excluded.latency_ms),
        title = iif({_IS_BETTER_TITLE}, excluded.title, title),
        title_rank = iif({_IS_BETTER_TITLE}, excluded.title_rank, title_rank),
        title_at_us = iif({_IS_BETTER_TITLE}, excluded.title_at_us, title_at_us)
"""


def _row(tally: Tally, number: int, key: _Key, interactions: int) -> _SessionRow:
    """Make the row to insert, or to add to the existing one."""
    app, session_id = key
    return _SessionRow(
        id=number,
        app=app,
        session_id=session_id,
        interactions=interactions,
        first_at_us=tally.first_at_us,
        last_at_us=tally.last_at_us,
        feedback=tally.feedback,
        observations=tally.observations,
        llm_calls=tally.llm_calls,
        tool_calls=tally.tool_calls,
        retrievals=tally.retrievals,
        errors=tally.errors,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost_nanos=tally.cost_nanos,
        estimated_nanos=tally.estimated_nanos,
        latency_ms=tally.latency_ms,
        title=tally.title.words,
        title_rank=tally.title.rank,
        title_at_us=tally.title.at_us,
    )


def _find_new_interactions(
    connection: sqlite3.Connection,
    sessions: Mapping[_Key, KnownSession],
    tallies: Mapping[_Key, Tally],
    known: KnownRows,
) -> list[_InteractionRow]:
    """Return the interactions to insert; afterwards all are known."""
    unknown = [
        (session, interaction_id)
        for key, session in sessions.items()
        for interaction_id in tallies[key].interaction_ids - session.interactions.keys()
    ]
    known.entries += len(unknown)
    rows = number_rows(
        connection,
        "interactions",
        ("session", "interaction_id"),
        [(session.row, interaction_id) for session, interaction_id in unknown],
        surely_new={place for place, (session, _) in enumerate(unknown) if session.is_whole},
    )
    new: list[_InteractionRow] = []
    for (session, interaction_id), row in zip(unknown, rows, strict=True):
        session.interactions[interaction_id] = row.number
        if row.is_new:
            new.append(_InteractionRow(row.number, session.row, interaction_id))
    return new
