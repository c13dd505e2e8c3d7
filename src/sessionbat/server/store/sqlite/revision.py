"""Takes single events out of a store, with all that was made of them: to be replaced, or moved.

A deletion takes whole sessions, the latest events first; here any event may go, and what stays has
to be as if it had never been there. So its messages pass on to the next event that refers to them,
and its session gets the title and the labels that the others give it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from sessionbat.event import FEEDBACK, LLM, RETRIEVAL, TOOL
from sessionbat.server.reading.figures import EventFigures, Label, Title, read
from sessionbat.server.reading.title import BEST
from sessionbat.server.store.sqlite.deleted_rows import delete_rest, has_events, release_labels
from sessionbat.server.store.sqlite.deletion import STEP_MESSAGES
from sessionbat.server.store.sqlite.derived import Derived
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.many_rows import columns, with_values
from sessionbat.server.store.sqlite.payloads import SPLIT, PayloadReader

#: Events of a session that are read for the labels and the title that one taken out gave it. In a
#: longer session a label that no other event has may stay until the next rebuild.
MAX_READ: Final = 1000

#: Labels by the number of a session.
Labels = Mapping[int, Set[Label]]


class TakenOut(NamedTuple):
    """An event that was stored."""

    row: EventRow
    raw: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event, decoded anew at each access."""
        decoded: dict[str, Any] = orjson.loads(self.raw)
        return decoded


class Revision:
    """Takes events out, inside the caller's transaction, in which foreign keys are off.

    Afterwards nothing is known any more of rows (``KnownRows``), nor noted in what is derived.

    Args:
        derived: Everything in which the events may be.
        context_keys: As the store was opened with.
    """

    def __init__(self, derived: Sequence[Derived], context_keys: tuple[str, ...]) -> None:
        self._derived = derived
        self._context_keys = context_keys
        self._payloads = PayloadReader()

    def read(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, TakenOut]:
        """Read events by their numbers, those that are there."""
        named = ", ".join(f"events.{name}" for name in EventRow._fields)
        found = with_values(
            connection,
            f"SELECT {named}, codec, data FROM {{}} CROSS JOIN events ON events.id = column1"
            " CROSS JOIN payloads ON payloads.event = events.id",
            [(number,) for number in numbers],
        )
        return {
            row[0]: TakenOut(EventRow._make(row), self._payloads.decode(connection, codec, data))
            for *row, codec, data in found
        }

    def take_out(
        self, connection: sqlite3.Connection, taken: Sequence[TakenOut], coming: Labels
    ) -> None:
        """Take out events that ``read`` has given.

        Args:
            connection: In a transaction.
            taken: The events.
            coming: Labels that sessions are given right after this: they need not go first.
        """
        rows = sorted((each.row for each in taken), reverse=True)
        done = dict(connection.execute("SELECT name, up_to FROM progress"))
        heirs = self._find_heirs(connection, rows)
        for each in self._derived:
            up_to = done[each.name]
            each.subtract(connection, [row for row in rows if row.id <= up_to])
            each.subtract(connection, [heir.row for heir in heirs if heir.row.id <= up_to])
        for heir in heirs:
            connection.executemany(
                "UPDATE messages SET event = ? WHERE id = ?",
                [(heir.row.id, message) for message in heir.messages],
            )
        _delete_rows(connection, rows)
        for each in self._derived:
            up_to = done[each.name]
            each.restore(connection, [heir.row for heir in heirs if heir.row.id <= up_to])
        self._settle_sessions(connection, taken, coming)
        self._payloads.forget()

    def _find_heirs(self, connection: sqlite3.Connection, rows: Sequence[EventRow]) -> list[_Heir]:
        """Find for each message that goes with its event the next event that refers to it."""
        gone = {row.id for row in rows}
        orphans: dict[int, dict[int, int]] = defaultdict(dict)  # by session: message to its event
        for message, event, session in with_values(
            connection,
            "SELECT messages.id, event, session FROM {} CROSS JOIN messages ON event = column1",
            [(row.id,) for row in rows],
        ):
            orphans[session][message] = event
        heirs: list[_Heir] = []
        for session, messages in orphans.items():
            for row, referred in self._conversations(connection, session, min(messages.values())):
                if row.id in gone:
                    continue
                inherited = [number for number in messages if number in referred]
                if inherited:
                    heirs.append(_Heir(row, inherited))
                for number in inherited:
                    del messages[number]
                if not messages:
                    break
        return heirs

    def _conversations(
        self, connection: sqlite3.Connection, session: int, after: int
    ) -> Iterator[tuple[EventRow, set[int]]]:
        """Give the later events of a session that refer to messages, and to which."""
        named = ", ".join(f"events.{name}" for name in EventRow._fields)
        for *row, data in connection.execute(
            f"SELECT {named}, data FROM events JOIN payloads ON payloads.event = events.id"
            " WHERE session = ? AND events.id > ? AND codec = ? ORDER BY events.id",
            (session, after, SPLIT),
        ):
            yield EventRow._make(row), self._payloads.messages_of(data)

    def _settle_sessions(
        self, connection: sqlite3.Connection, taken: Sequence[TakenOut], coming: Labels
    ) -> None:
        by_session: dict[int, list[TakenOut]] = defaultdict(list)
        for each in taken:
            by_session[each.row.session].append(each)
        for session, gone in by_session.items():
            if not has_events(connection, session):
                _, _, size = delete_rest(connection, session, STEP_MESSAGES)
                _give_back(connection, gone[0].row.app, size)
                continue
            readings = [self._figures(each.row, each.raw) for each in gone]
            _subtract_sums(connection, session, [each.row for each in gone])
            _delete_turns(connection, session, {each.row.interaction for each in gone})
            self._find_title_again(connection, session, readings)
            self._drop_labels(connection, session, readings, coming.get(session, frozenset()))

    def _figures(self, row: EventRow, raw: bytes) -> EventFigures:
        return read(orjson.loads(raw), row.received_at_us, self._context_keys)

    def _find_title_again(
        self, connection: sqlite3.Connection, session: int, gone: Sequence[EventFigures]
    ) -> None:
        title = Title(
            *connection.execute(
                "SELECT title_rank, title, title_at_us FROM sessions WHERE id = ?", (session,)
            ).fetchone()
        )
        if not any(each.at_us == title.at_us and each.title == title for each in gone):
            return
        best = Title(-1, "", 0)
        for figures in self._staying(connection, session, "at_us, events.id"):
            if figures.title.is_better_than(best):
                best = figures.title
            if best.rank == BEST:
                break
        connection.execute(
            "UPDATE sessions SET (title_rank, title, title_at_us) = (?, ?, ?) WHERE id = ?",
            (*best, session),
        )

    def _drop_labels(
        self,
        connection: sqlite3.Connection,
        session: int,
        gone: Sequence[EventFigures],
        coming: Set[Label],
    ) -> None:
        """Take from a session the labels that only these events gave it."""
        lost: set[Label] = set().union(*(each.own_labels | each.shared_labels for each in gone))
        lost -= coming
        if not lost:
            return
        looked_at = 0
        for figures in self._staying(connection, session, "at_us DESC, events.id DESC"):
            lost -= figures.own_labels | figures.shared_labels
            looked_at += 1
            if not lost:
                return
        if looked_at == MAX_READ:
            return  # the others may have them
        for key, value in lost:
            row = connection.execute(
                "SELECT labels.id FROM labels JOIN session_labels ON label = labels.id"
                " WHERE session = ? AND key = ? AND value = ?",
                (session, key, value),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "DELETE FROM session_labels WHERE label = ? AND session = ?", (*row, session)
                )
                release_labels(connection, [row])

    def _staying(
        self, connection: sqlite3.Connection, session: int, order: str
    ) -> Iterator[EventFigures]:
        for received_at_us, codec, data in connection.execute(
            "SELECT received_at_us, codec, data FROM events JOIN payloads ON event = events.id"
            f" WHERE session = ? ORDER BY {order} LIMIT {MAX_READ}",
            (session,),
        ):
            raw = self._payloads.decode(connection, codec, data)
            yield read(orjson.loads(raw), received_at_us, self._context_keys)


@dataclass(slots=True)
class _Heir:
    """An event that stays, and messages that it is now the first to bring."""

    row: EventRow
    messages: list[int] = field(default_factory=list)


def _delete_rows(connection: sqlite3.Connection, rows: Sequence[EventRow]) -> None:
    for row in rows:
        (own,) = connection.execute(
            "SELECT coalesce(sum(length(data)), 0) FROM messages WHERE event = ?", (row.id,)
        ).fetchone()
        (around,) = connection.execute(
            "SELECT length(data) FROM payloads WHERE event = ?", (row.id,)
        ).fetchone()
        _give_back(connection, row.app, own + around)
    numbers = [(row.id,) for row in rows]
    connection.executemany("DELETE FROM messages WHERE event = ?", numbers)
    connection.executemany("DELETE FROM payloads WHERE event = ?", numbers)
    connection.executemany("DELETE FROM events WHERE id = ?", numbers)


def _give_back(connection: sqlite3.Connection, app: int, size: int) -> None:
    connection.execute("UPDATE apps SET bytes = max(0, bytes - ?) WHERE id = ?", (size, app))


class _Sums(NamedTuple):
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


def _subtract_sums(connection: sqlite3.Connection, session: int, rows: Sequence[EventRow]) -> None:
    sums = _Sums(
        sum(row.kind != FEEDBACK for row in rows),
        sum(row.kind == FEEDBACK for row in rows),
        sum(row.kind == LLM for row in rows),
        sum(row.kind == TOOL for row in rows),
        sum(row.kind == RETRIEVAL for row in rows),
        sum(row.failed for row in rows),
        sum(row.input_tokens or 0 for row in rows),
        sum(row.output_tokens or 0 for row in rows),
        sum(row.cost_nanos for row in rows),
        sum(row.estimated_nanos for row in rows),
    )
    less = ", ".join(f"{name} - ?" for name in _Sums._fields)
    connection.execute(
        f"UPDATE sessions SET ({columns(_Sums)}) = ({less}) WHERE id = ?", (*sums, session)
    )
    first, last, slowest = connection.execute(
        "SELECT first_at_us, last_at_us, latency_ms FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    # Only of an event at an edge: all others of the session are read for it.
    if any(
        row.active_at_us in (first, last) or (row.latency_ms or 0) >= slowest > 0 for row in rows
    ):
        connection.execute(_FIND_EDGES, (session, session))


_FIND_EDGES: Final = (
    "UPDATE sessions SET (first_at_us, last_at_us, latency_ms) = (SELECT"
    " min(min(at_us, received_at_us)), max(min(at_us, received_at_us)),"
    " max(0, coalesce(max(latency_ms), 0)) FROM events WHERE session = ?) WHERE id = ?"
)


def _delete_turns(connection: sqlite3.Connection, session: int, turns: Set[int | None]) -> None:
    """Delete the interactions in which nothing is left."""
    for turn in turns - {None}:
        left = connection.execute(
            "SELECT 1 FROM events WHERE session = ? AND interaction = ? LIMIT 1", (session, turn)
        ).fetchone()
        if left is None:
            connection.execute("DELETE FROM interactions WHERE id = ?", (turn,))
            connection.execute(
                "UPDATE sessions SET interactions = interactions - 1 WHERE id = ?", (session,)
            )
