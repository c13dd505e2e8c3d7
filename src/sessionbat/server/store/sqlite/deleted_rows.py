"""Delete the rows of events, of their messages, and of a session that has no events left.

The tables themselves; ``deletion`` chooses what goes and when, ``revision`` replaces events.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from sessionbat.event import FEEDBACK, LLM, RETRIEVAL, TOOL
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.span_rows import delete_of_events


def delete_events(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete events with one statement a table: each row of ``executemany`` releases Python's lock.

    While other threads compute, getting the lock back takes two milliseconds.
    """
    given = (json.dumps(numbers),)
    connection.execute(
        "DELETE FROM payloads WHERE event IN (SELECT value FROM json_each(?))", given
    )
    connection.execute("DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))", given)
    delete_of_events(connection, numbers)


def delete_messages_of_events(
    connection: sqlite3.Connection, events: Sequence[EventRow], room: int
) -> dict[int, tuple[int, int]]:
    """Delete the messages that events brought, up to ``room`` messages.

    If an event has more messages than a step takes, they are deleted once its session is empty.

    Returns:
        The number of messages deleted and their stored size, for each event.
    """
    deleted = dict.fromkeys((event.id for event in events), (0, 0))
    with_messages = connection.execute(
        "SELECT DISTINCT event FROM messages WHERE event IN (SELECT value FROM json_each(?))",
        (json.dumps([*deleted]),),
    ).fetchall()
    for (event,) in with_messages:
        deleted[event] = _delete_messages(connection, "event", event, room)
        room -= deleted[event][0]
    return deleted


def _delete_messages(
    connection: sqlite3.Connection, column: str, value: int, room: int
) -> tuple[int, int]:
    """Delete up to ``room`` messages of an event or session; returns their number and size."""
    ids = f"SELECT id FROM messages WHERE {column} = ? LIMIT ?"
    count, size = connection.execute(
        f"SELECT count(*), coalesce(sum(length(data)), 0) FROM messages WHERE id IN ({ids})",
        (value, room),
    ).fetchone()
    if count:
        connection.execute(f"DELETE FROM messages WHERE id IN ({ids})", (value, room))
    return count, size


def count_messages(connection: sqlite3.Connection, session: int, most: int) -> int:
    """Count the messages of a session, up to ``most``."""
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM messages WHERE session = ? LIMIT ?)", (session, most)
    ).fetchone()
    return int(count)


def has_events(connection: sqlite3.Connection, session: int) -> bool:
    """Whether anything is left of a session."""
    found = connection.execute("SELECT 1 FROM events WHERE session = ?", (session,)).fetchone()
    return found is not None


def delete_rest(connection: sqlite3.Connection, session: int, room: int) -> tuple[bool, int, int]:
    """Delete the rest of a session without events.

    Returns:
        Whether all is gone; the number of messages deleted, and their stored size.
    """
    count, size = _delete_messages(connection, "session", session, room)
    if connection.execute("SELECT 1 FROM messages WHERE session = ?", (session,)).fetchone():
        return False, count, size
    labels = connection.execute(
        "SELECT label FROM session_labels WHERE session = ?", (session,)
    ).fetchall()
    connection.execute("DELETE FROM session_labels WHERE session = ?", (session,))
    release_labels(connection, labels)
    for table, column in (("interactions", "session"), ("sessions", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (session,))
    return True, count, size


def release_labels(connection: sqlite3.Connection, labels: Sequence[tuple[int]]) -> None:
    """Count one session less for each of these labels, and delete those that no session has."""
    connection.executemany("UPDATE labels SET sessions = sessions - 1 WHERE id = ?", labels)
    connection.executemany("DELETE FROM labels WHERE id = ? AND sessions <= 0", labels)


_SUMS: Final = {
    "first_at_us": "min(min(at_us, received_at_us))",
    "last_at_us": "max(min(at_us, received_at_us))",
    "interactions": "count(DISTINCT interaction)",
    "observations": f"sum(kind <> '{FEEDBACK}')",
    "feedback": f"sum(kind = '{FEEDBACK}')",
    "llm_calls": f"sum(kind = '{LLM}')",
    "tool_calls": f"sum(kind = '{TOOL}')",
    "retrievals": f"sum(kind = '{RETRIEVAL}')",
    "errors": "sum(failed)",
    "input_tokens": "coalesce(sum(input_tokens), 0)",
    "output_tokens": "coalesce(sum(output_tokens), 0)",
    "latency_ms": "max(0, coalesce(max(latency_ms), 0))",
}
_SUM_UP: Final = (
    f"UPDATE sessions SET ({', '.join(_SUMS)}) ="
    f" (SELECT {', '.join(_SUMS.values())} FROM events WHERE session = ?),"
    " cost_nanos = cost_nanos - ?, estimated_nanos = estimated_nanos - ? WHERE id = ?"
)


def sum_up_rest(connection: sqlite3.Connection, session: int, gone: Sequence[EventRow]) -> None:
    """Update the summary to the remaining events; title and labels stay until the last is gone."""
    cost_nanos = sum(event.cost_nanos for event in gone)
    estimated_nanos = sum(event.estimated_nanos for event in gone)
    connection.execute(_SUM_UP, (session, cost_nanos, estimated_nanos, session))
