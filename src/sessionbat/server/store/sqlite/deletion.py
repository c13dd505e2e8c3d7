"""Deletes sessions from every table and all derived data, in short steps.

A step deletes a session's latest events first. So a message that later model calls resend is never
deleted before an event that needs it, and after each step the rest looks like a session that ended
earlier.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.event import FEEDBACK, LLM, RETRIEVAL, TOOL
from sessionbat.server.records import Removed
from sessionbat.server.store.sqlite.compaction import Compaction
from sessionbat.server.store.sqlite.derived import Derived
from sessionbat.server.store.sqlite.event_rows import EVENT_COLUMNS, EventRow
from sessionbat.server.store.sqlite.writer import Writer

#: The limits of a step, in events and in stored bytes: some ten milliseconds in which nobody else
#: writes.
STEP_EVENTS: Final = 125
STEP_BYTES: Final = 1024 * 1024
#: The limit in characters of indexed text; removing text costs as much as indexing it.
STEP_CHARACTERS: Final = 512 * 1024
#: The limit in messages of one event, or of a session without events.
STEP_MESSAGES: Final = 5000

_ALWAYS: Final = 2**63 - 1


class Deletion:
    """Deletes sessions step by step, so that others can write in between.

    Args:
        writer: Writes to the file.
        compaction: Frees room while the disk is nearly full.
        derived: All derived data, from which deleted events have to be subtracted.
    """

    def __init__(self, writer: Writer, compaction: Compaction, derived: Sequence[Derived]) -> None:
        self._writer = writer
        self._compaction = compaction
        self._derived = derived

    def delete(
        self,
        sessions: Sequence[tuple[str, str]],
        idle_since_us: int | None,
        on_progress: Callable[[int], None],
    ) -> Removed:
        """Delete sessions; see ``Upkeep.delete_sessions``."""
        removed, at, has_begun = Removed(), 0, False
        with self._compaction.sparing_room():
            while at < len(sessions):
                step = self.step(sessions[at:], idle_since_us, has_begun=has_begun)
                removed += step.removed
                at, has_begun = at + step.done, step.has_begun
                on_progress(step.removed.events)
        return removed

    def step(
        self,
        sessions: Sequence[tuple[str, str]],
        idle_since_us: int | None,
        *,
        has_begun: bool,
        max_events: int | None = None,
    ) -> Step:
        """Delete some events in one transaction; fewer when the disk has little room."""
        self._writer.empty_log_if_needed()
        max_events = max_events or STEP_EVENTS
        try:
            with (
                self._writer.short_step(),
                self._writer.transaction(foreign_keys=False) as connection,
            ):
                return _delete_some(
                    connection,
                    self._derived,
                    sessions,
                    idle_since_us,
                    has_begun=has_begun,
                    max_events=max_events,
                )
        except StoreError as exc:
            if exc.slug != "store-full" or max_events == 1:
                raise
        # What is deleted is written to the log first: a little may still have its place.
        return self.step(
            sessions, idle_since_us, has_begun=has_begun, max_events=max_events // 8 or 1
        )


class Step(NamedTuple):
    """The result of one step."""

    removed: Removed
    #: The number of sessions, from the first on, that are finished: deleted or kept.
    done: int
    #: Whether the session after them has lost events; the next step continues with it.
    has_begun: bool


def _delete_some(
    connection: sqlite3.Connection,
    derived: Sequence[Derived],
    sessions: Sequence[tuple[str, str]],
    idle_since_us: int | None,
    *,
    has_begun: bool,
    max_events: int,
) -> Step:
    """Delete one step's worth of events of these sessions, in the caller's transaction.

    ``has_begun`` says that the previous step deleted part of the first session; then it is deleted
    regardless of later activity. Foreign keys have to be off: to check those of an interaction,
    SQLite would read all events.
    """
    removed = Removed()
    room_events, room_bytes, room_text = max_events, STEP_BYTES, STEP_CHARACTERS
    for done, (app, session_id) in enumerate(sessions):
        if room_events <= 0 or room_bytes <= 0 or room_text <= 0:
            return Step(removed, done, False)
        goes_anyway = idle_since_us is None or (has_begun and done == 0)
        session = _find_session(
            connection, app, session_id, _ALWAYS if goes_anyway else idle_since_us
        )
        if session is None:
            continue
        events = _latest_events(connection, session, room_events, room_bytes)
        gone, size, characters = _delete_events(connection, derived, events, room_text)
        has_more = _has_events(connection, session)
        is_gone, left_behind = (False, 0) if has_more else _delete_rest(connection, session)
        size += left_behind
        connection.execute("UPDATE apps SET bytes = max(0, bytes - ?) WHERE name = ?", (size, app))
        removed += Removed(int(is_gone), len(gone), size)
        if has_more:
            _sum_up_rest(connection, session, sum(event.cost_nanos for event in gone))
        if not is_gone:  # without events, messages of long conversations are left
            return Step(removed, done, True)
        room_events -= len(gone) or 1
        room_bytes -= size
        room_text -= characters
    return Step(removed, len(sessions), False)


def _find_session(
    connection: sqlite3.Connection, app: str, session_id: str, idle_since_us: int | None
) -> int | None:
    found = connection.execute(
        "SELECT sessions.id FROM sessions JOIN apps ON apps.id = app"
        " WHERE apps.name = ? AND session_id = ? AND last_at_us < ?",
        (app, session_id, idle_since_us),
    )
    return next((number for (number,) in found.fetchall()), None)


def _latest_events(
    connection: sqlite3.Connection, session: int, limit: int, max_bytes: int
) -> list[EventRow]:
    events: list[EventRow] = []
    size = 0
    for *row, length in connection.execute(
        f"SELECT {EVENT_COLUMNS}, length(data) FROM events JOIN payloads ON event = id"
        " WHERE id IN (SELECT id FROM events WHERE session = ? ORDER BY id DESC LIMIT ?)"
        " ORDER BY id DESC",
        (session, limit),
    ):
        events.append(EventRow._make(row))
        size += length
        if size >= max_bytes:
            break
    return events


def _delete_events(
    connection: sqlite3.Connection,
    derived: Sequence[Derived],
    events: Sequence[EventRow],
    room: int,
) -> tuple[Sequence[EventRow], int, int]:
    """Delete the first of these events, one step's worth, and the messages only they brought.

    If an event has more messages than a step takes, they are deleted once its session is empty.

    Returns:
        The deleted events, their stored size, and the characters of their text.
    """
    up_to = dict(connection.execute("SELECT name, up_to FROM progress"))
    taken = weight = 0
    for event in events:
        more = sum(
            each.weigh(connection, event) for each in derived if event.id <= up_to[each.name]
        )
        if weight and weight + more > room:
            break
        taken, weight = taken + 1, weight + more
    events = events[:taken]
    for each in derived:
        # What is not in it yet is not there any more when it would be.
        each.subtract(connection, [event for event in events if event.id <= up_to[each.name]])
    size = _delete_messages(connection, "event", [event.id for event in events])
    numbers = [(event.id,) for event in events]
    for number in numbers:
        (length,) = connection.execute(
            "SELECT length(data) FROM payloads WHERE event = ?", number
        ).fetchone()
        size += length
    connection.executemany("DELETE FROM payloads WHERE event = ?", numbers)
    connection.executemany("DELETE FROM events WHERE id = ?", numbers)
    return events, size, weight


def _delete_messages(connection: sqlite3.Connection, column: str, values: Sequence[int]) -> int:
    """Delete messages of these events or this session, up to the step's limit.

    Returns:
        Their stored size.
    """
    size, room = 0, STEP_MESSAGES
    for value in values:
        ids = f"SELECT id FROM messages WHERE {column} = ? LIMIT ?"
        count, length = connection.execute(
            f"SELECT count(*), coalesce(sum(length(data)), 0) FROM messages WHERE id IN ({ids})",
            (value, room),
        ).fetchone()
        if count:
            connection.execute(f"DELETE FROM messages WHERE id IN ({ids})", (value, room))
        size += length
        room -= count
    return size


def _has_events(connection: sqlite3.Connection, session: int) -> bool:
    found = connection.execute("SELECT 1 FROM events WHERE session = ?", (session,)).fetchone()
    return found is not None


def _delete_rest(connection: sqlite3.Connection, session: int) -> tuple[bool, int]:
    """Delete the rest of a session without events; returns whether all is gone, and its size."""
    size = _delete_messages(connection, "session", [session])
    if connection.execute("SELECT 1 FROM messages WHERE session = ?", (session,)).fetchone():
        return False, size
    labels = connection.execute(
        "SELECT label FROM session_labels WHERE session = ?", (session,)
    ).fetchall()
    connection.execute("DELETE FROM session_labels WHERE session = ?", (session,))
    connection.executemany("UPDATE labels SET sessions = sessions - 1 WHERE id = ?", labels)
    connection.executemany("DELETE FROM labels WHERE id = ? AND sessions <= 0", labels)
    for table, column in (("interactions", "session"), ("sessions", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (session,))
    return True, size


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
    " cost_nanos = cost_nanos - ? WHERE id = ?"
)


def _sum_up_rest(connection: sqlite3.Connection, session: int, cost_nanos: int) -> None:
    """Update the summary to the remaining events; title and labels stay until the last is gone."""
    connection.execute(_SUM_UP, (session, cost_nanos, session))
