"""Deletes sessions from every table and all derived data, in short steps.

A step deletes a session's latest events first. So a message that later model calls resend is never
deleted before an event that needs it, and after each step the rest looks like a session that ended
earlier. The texts to remove from the index are read before the step takes the lock: decoding one
event may take half a second, in which nobody else could write.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.server.records import Removed
from sessionbat.server.store.sqlite.compaction import Compaction
from sessionbat.server.store.sqlite.connections import Readers
from sessionbat.server.store.sqlite.deleted_rows import (
    count_messages,
    delete_events,
    delete_messages_of_events,
    delete_rest,
    has_events,
    sum_up_rest,
)
from sessionbat.server.store.sqlite.derived import Derived
from sessionbat.server.store.sqlite.event_rows import EVENT_COLUMNS, EventRow
from sessionbat.server.store.sqlite.span_rows import delete_held
from sessionbat.server.store.sqlite.writer import Writer

#: The limits of a step, in events and sessions, and in stored bytes.
STEP_EVENTS: Final = 1000
STEP_BYTES: Final = 1024 * 1024
#: The limit in characters of indexed text; removing text costs as much as indexing it.
STEP_CHARACTERS: Final = 256 * 1024
#: The limit in messages.
STEP_MESSAGES: Final = 5000
# The time that a step should take at most, in seconds, and the fewest events of the step after one
# that took longer.
_STEP_SECONDS: Final = 0.08
_LEAST_EVENTS: Final = STEP_EVENTS // 20
# Seconds after which a step reads no further event: reading one of many values takes half a second.
_READ_SECONDS: Final = 0.5

_ALWAYS: Final = 2**63 - 1


class Deletion:
    """Deletes sessions step by step, so that others can write in between.

    Args:
        writer: Writes to the file.
        readers: Read the same file.
        compaction: Frees room while the disk is nearly full.
        derived: All derived data, from which deleted events have to be subtracted.
        clock: Seconds.
    """

    def __init__(
        self,
        writer: Writer,
        readers: Readers,
        compaction: Compaction,
        derived: Sequence[Derived],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._compaction = compaction
        self._derived = derived
        self._clock = clock
        self._most = 2 * _LEAST_EVENTS  # events of the next step

    def delete(
        self,
        sessions: Sequence[tuple[str, str]],
        idle_since_us: int | None,
        on_progress: Callable[[int], None],
    ) -> Removed:
        """Delete sessions; see ``Upkeep.delete_sessions``."""
        sessions = [*dict.fromkeys(sessions)]  # one given twice would be subtracted twice
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
        max_events = max_events or min(self._most, STEP_EVENTS)
        order = _Order(sessions, idle_since_us, has_begun, max_events)
        started = self._clock()
        weights = self._weigh(order)
        try:
            return self._delete(order, weights, others_had=self._clock() - started)
        except StoreError as exc:
            if exc.slug != "store-full" or max_events == 1:
                raise
        # Deleting writes to the log first; for fewer events there may still be room.
        return self.step(
            sessions, idle_since_us, has_begun=has_begun, max_events=max_events // 8 or 1
        )

    def _weigh(self, order: _Order) -> dict[int, int]:
        """Read the texts of one step's events; returns the characters of each."""
        weights: dict[int, int] = {}
        allowance = _Allowance(order.max_events)
        deadline = self._clock() + _READ_SECONDS
        # If the store fails here, it fails in the step too, which reports it.
        with suppress(StoreError), self._readers.lend() as reader:
            for session, _ in _sessions_of(reader.connection, order):
                for event, size in _latest_events(reader.connection, session, allowance):
                    weights[event.id] = sum(each.weigh(reader, event) for each in self._derived)
                    allowance.take(weights[event.id], size)
                    if allowance.is_over or self._clock() > deadline:
                        return weights
        return weights

    def _delete(self, order: _Order, weights: Mapping[int, int], others_had: float) -> Step:
        """Run the step, set the size of the next one, and let others write as long as it took.

        ``others_had`` seconds of that have passed before the step.
        """
        with self._writer.transaction(foreign_keys=False) as connection:
            started = self._clock()
            step = _delete_some(connection, self._derived, order, weights)
        # Not counting the wait for the lock, which is long while others write much.
        seconds = self._clock() - started
        change = min(1.5, _STEP_SECONDS / max(seconds, 1e-6))
        self._most = int(max(_LEAST_EVENTS, min(order.max_events * change, STEP_EVENTS)))
        self._writer.pause(max(0.0, seconds - others_had))
        return step


class Step(NamedTuple):
    """The result of one step."""

    removed: Removed
    #: The number of sessions, from the first on, that are finished: deleted or kept.
    done: int
    #: Whether the session after them has lost events; the next step continues with it.
    has_begun: bool


class _Order(NamedTuple):
    """The sessions that a step may delete, each once, and its limit."""

    sessions: Sequence[tuple[str, str]]
    idle_since_us: int | None
    #: Whether the previous step deleted part of the first session; then it is deleted regardless of
    #: later activity.
    has_begun: bool
    max_events: int


class _Allowance:
    """The rest of a step's limits."""

    def __init__(self, max_events: int) -> None:
        self.events = max_events
        self.bytes = STEP_BYTES
        self.characters = STEP_CHARACTERS
        self.messages = STEP_MESSAGES

    @property
    def is_over(self) -> bool:
        return min(self.events, self.bytes, self.characters, self.messages) <= 0

    def take(self, characters: int, size: int) -> None:
        self.events -= 1
        self.characters -= characters
        self.bytes -= size


class _Chosen(NamedTuple):
    """The events of one session that a step deletes; none if it has only messages left."""

    place: int
    number: int
    app: str
    events: list[EventRow]
    #: The stored size of their JSON.
    size: int


def _delete_some(
    connection: sqlite3.Connection,
    derived: Sequence[Derived],
    order: _Order,
    weights: Mapping[int, int],
) -> Step:
    """Delete one step's worth of events of these sessions, in the caller's transaction.

    Foreign keys have to be off: to check those of an interaction, SQLite would read all events.
    """
    allowance = _Allowance(order.max_events)
    chosen, done = _choose(connection, order, weights, allowance)
    events = [event for each in chosen for event in each.events]
    up_to = dict(connection.execute("SELECT name, up_to FROM progress"))
    for one in derived:
        # Events that are not in it yet will be gone before they would be added.
        one.subtract(connection, [event for event in events if event.id <= up_to[one.name]])
    deleted = delete_messages_of_events(connection, events, STEP_MESSAGES)
    left = STEP_MESSAGES - sum(count for count, _ in deleted.values())
    delete_events(connection, [event.id for event in events])
    if order.idle_since_us is None:
        for app, session_id in order.sessions[: done + 1]:
            delete_held(connection, app, session_id)
    gone, has_begun = 0, False
    sizes: dict[str, int] = defaultdict(int)
    for each in chosen:
        size = each.size + sum(deleted[event.id][1] for event in each.events)
        is_gone = False
        if has_events(connection, each.number):
            sum_up_rest(connection, each.number, each.events)
        else:
            is_gone, count, more = delete_rest(connection, each.number, left)
            left, size = left - count, size + more
        sizes[each.app] += size
        gone += is_gone
        if not is_gone and not has_begun:  # events are left, or messages of a long conversation
            done, has_begun = each.place, True
    for app, size in sizes.items():
        connection.execute("UPDATE apps SET bytes = max(0, bytes - ?) WHERE name = ?", (size, app))
    return Step(Removed(gone, len(events), sum(sizes.values())), done, has_begun)


def _choose(
    connection: sqlite3.Connection, order: _Order, weights: Mapping[int, int], allowance: _Allowance
) -> tuple[list[_Chosen], int]:
    """Choose the events to delete; returns also the place of the session to continue with."""
    chosen: list[_Chosen] = []
    for session, place in _sessions_of(connection, order):
        app, _ = order.sessions[place]
        taken, size, is_all = list[EventRow](), 0, True
        for event, length in _latest_events(connection, session, allowance):
            # An event stored after the texts were read has no weight. The first event always fits.
            fits = event.id in weights and weights[event.id] <= allowance.characters
            if not fits and (chosen or taken):
                is_all = False
                break
            taken.append(event)
            allowance.take(weights.get(event.id, 0), length)
            size += length
        if not taken and not is_all:
            return chosen, place
        allowance.events -= not taken
        allowance.messages -= count_messages(connection, session, allowance.messages)
        chosen.append(_Chosen(place, session, app, taken, size))
        if allowance.is_over or not is_all:
            return chosen, place + 1
    return chosen, len(order.sessions)


def _sessions_of(connection: sqlite3.Connection, order: _Order) -> Iterable[tuple[int, int]]:
    """Yield the number and place of each session to delete."""
    for place, (app, session_id) in enumerate(order.sessions):
        goes_anyway = order.idle_since_us is None or (order.has_begun and place == 0)
        before = _ALWAYS if goes_anyway else order.idle_since_us
        session = _find_session(connection, app, session_id, before)
        if session is not None:
            yield session, place


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
    connection: sqlite3.Connection, session: int, allowance: _Allowance
) -> list[tuple[EventRow, int]]:
    """List the latest events that fit, with the stored size of their JSON."""
    events: list[tuple[EventRow, int]] = []
    size = 0
    for *row, length in connection.execute(
        f"SELECT {EVENT_COLUMNS}, length(data) FROM events JOIN payloads ON event = id"
        " WHERE id IN (SELECT id FROM events WHERE session = ? ORDER BY id DESC LIMIT ?)"
        " ORDER BY id DESC",
        (session, allowance.events),
    ):
        events.append((EventRow._make(row), length))
        size += length
        if size >= allowance.bytes:
            break
    return events
