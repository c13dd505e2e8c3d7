"""The default store: one SQLite file, one connection that writes, and a pool of readers.

When ``append`` returns, its events are on disk: WAL with ``synchronous=FULL`` syncs at each commit.
Readers see the last commit and never wait for the writer. This module combines the others, which
have one subject each.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeGuard

from sessionbat.errors import StoreError
from sessionbat.event import RESERVED_CONTEXT
from sessionbat.server.reading.figures import microseconds
from sessionbat.server.reading.usage import Estimate
from sessionbat.server.records import (
    AppMeasures,
    EventFilter,
    Page,
    PreparedEvent,
    ReceivedEvent,
    Removed,
    StoredEvent,
    StoredKey,
    StoreHealth,
    StoreMeasures,
)
from sessionbat.server.store.parts import ReceivedPart, Rules
from sessionbat.server.store.protocol import Store
from sessionbat.server.store.questions import Answer, Question
from sessionbat.server.store.sqlite import (
    answers,
    export,
    keys,
    measures,
    span_rows,
)
from sessionbat.server.store.sqlite.append import Prepared, insert_events, prepare, tally_of
from sessionbat.server.store.sqlite.compaction import Compaction
from sessionbat.server.store.sqlite.connections import QUERY_TIMEOUT, Readers, open_writer
from sessionbat.server.store.sqlite.deletion import Deletion
from sessionbat.server.store.sqlite.derived import Derived, make_derived
from sessionbat.server.store.sqlite.health import Health
from sessionbat.server.store.sqlite.indexer_thread import Follower
from sessionbat.server.store.sqlite.indexing import Indexing
from sessionbat.server.store.sqlite.known_rows import KnownRows
from sessionbat.server.store.sqlite.part_placing import PartPlacing, PreparedPart, prepare_part
from sessionbat.server.store.sqlite.payloads import PayloadWriter
from sessionbat.server.store.sqlite.rebuild import rebuild_rows
from sessionbat.server.store.sqlite.revision import Revision
from sessionbat.server.store.sqlite.schema import check_file
from sessionbat.server.store.sqlite.writer import Writer


class SqliteStore(Store):
    """Events in one SQLite file; the ``Store`` protocol says what each method promises.

    Args:
        path: The file; created if it is missing.
        context_keys: Further context keys to filter sessions by, beside the reserved ones.
        query_timeout: The time limit of a query in seconds.
        derived: The derived data to maintain; all kinds when None.
        estimate: Estimates the cost of model calls without one; None: no estimates.

    Raises:
        StoreError: The file cannot be opened or is no store of this version; it is unchanged.
    """

    def __init__(
        self,
        path: str,
        context_keys: Sequence[str] = (),
        query_timeout: float = QUERY_TIMEOUT,
        derived: Sequence[Derived] | None = None,
        estimate: Estimate | None = None,
    ) -> None:
        self._path = Path(path)
        self._context_keys: tuple[str, ...] = tuple(
            dict.fromkeys((*RESERVED_CONTEXT, *context_keys))
        )
        self._estimate = estimate
        check_file(self._path)
        self._derived = make_derived() if derived is None else derived
        self._indexing = Indexing(self._derived)
        connection = open_writer(self._path, self._rebuild_rows, self._indexing.create)
        self._health = Health(self._path)
        self._preparing = _Preparing()
        self._payloads = PayloadWriter()
        self._known = KnownRows()
        self._placing = PartPlacing(
            self._payloads,
            self._known,
            Revision(self._derived, self._context_keys),
            self._context_keys,
            self._indexing,
            self._estimate,
        )
        self._writer = Writer(connection, self._health, self._forget)
        self._readers = Readers(self._path, query_timeout, self._health)
        self._compaction = Compaction(self._writer, self._readers, self._health)
        self._deletion = Deletion(self._writer, self._readers, self._compaction, self._derived)
        self._keys = keys.KeyReader(self._path, self._health.note_failure)
        self._follower = Follower(self._follow, is_known=self._health.has_told)
        self._follower.tell(self._indexing.count_behind(self._readers))

    def prepare(
        self, events: Sequence[ReceivedEvent | ReceivedPart]
    ) -> Sequence[Prepared | PreparedPart]:
        """Read and compress events; see ``Store.prepare``."""
        whole = [each for each in events if isinstance(each, ReceivedEvent)]
        if len(whole) == len(events):
            return self._prepare_whole(whole)
        made = iter(self._prepare_whole(whole))
        return [
            next(made) if isinstance(each, ReceivedEvent) else prepare_part(each) for each in events
        ]

    def _prepare_whole(self, events: Sequence[ReceivedEvent]) -> list[Prepared]:
        return prepare(events, self._preparing.encoder, self._context_keys, self._estimate)

    def append(self, events: Sequence[ReceivedEvent | ReceivedPart | PreparedEvent]) -> list[bool]:
        """Store events in one transaction; see ``Store.append``."""
        if _are_whole(events):
            return self._append_whole(events)  # as the SDK sends them
        received = [each for each in events if isinstance(each, ReceivedEvent | ReceivedPart)]
        # Not for nothing: meanwhile another thread may be preparing what comes next.
        fresh = iter(self.prepare(received) if received else ())
        prepared = [
            next(fresh) if isinstance(each, ReceivedEvent | ReceivedPart) else each
            for each in events
        ]
        whole = [each for each in prepared if isinstance(each, Prepared)]
        parts = [each for each in prepared if isinstance(each, PreparedPart)]
        assert len(whole) + len(parts) == len(prepared), "prepared by another store"
        is_new = self._append_whole(whole) if not parts else self._append_parts(whole, parts)
        if not parts or not whole:
            return is_new
        of_whole, of_parts = iter(is_new[: len(whole)]), iter(is_new[len(whole) :])
        return [next(of_whole if isinstance(each, Prepared) else of_parts) for each in prepared]

    def _append_whole(self, events: Sequence[Prepared]) -> list[bool]:
        tallies = tally_of(events)
        with self._writer.transaction(keeps_known=True, grows=True) as connection:
            self._known.trim()
            inserted = insert_events(connection, events, tallies, self._payloads, self._known)
            self._indexing.note(inserted)
        self._health.note_written()
        self._follower.tell(sum(inserted.is_new))
        return inserted.is_new

    def _append_parts(
        self, events: Sequence[Prepared], parts: Sequence[PreparedPart]
    ) -> list[bool]:
        tallies = tally_of(events)
        with self._changing_events() as connection:
            self._known.trim()
            inserted = insert_events(connection, events, tallies, self._payloads, self._known)
            self._indexing.note(inserted)
            is_new = self._placing.take_all(connection, parts)
        self._health.note_written()
        # Rarely anything: what one commit left, or a process that was killed.
        while self._settle(parts[0].part.rules):
            pass
        self._follower.tell(len(inserted.rows) + len(parts))
        return inserted.is_new + is_new

    def _settle(self, rules: Rules) -> bool:
        """Move some events of a trace that are not where they belong; False when none is left."""
        with self._changing_events() as connection:
            return self._placing.settle_some(connection, rules)

    def _changing_events(self) -> AbstractContextManager[sqlite3.Connection]:
        # Without foreign keys, as a deletion: each interaction would cost a scan of events.
        return self._writer.transaction(keeps_known=True, grows=True, foreign_keys=False)

    def forget_spans(self, idle_since: datetime) -> int:
        """Let go of spans; see ``Store.forget_spans``."""
        before_us, done = microseconds(idle_since), span_rows.Idle(0, 0, 0)
        with self._readers.lend() as reader:  # mostly there are none, and nothing is locked
            following = done if span_rows.has_idle(reader.connection, before_us) else None
        while following is not None:
            done = following
            with (
                self._writer.short_step(),
                self._writer.transaction(keeps_known=True) as connection,
            ):
                following = span_rows.forget_idle(connection, before_us, done)
        return done.forgotten

    @property
    def context_keys(self) -> tuple[str, ...]:
        """The context keys to filter sessions by; see ``Store.context_keys``."""
        return self._context_keys

    def ask(self, question: Question[Answer]) -> Answer:
        """Answer a query; see ``Asking.ask``."""
        with self._readers.lend() as reader:
            return answers.answer(reader, question)

    def list_received(
        self,
        where: EventFilter = EventFilter(),  # noqa: B008 - frozen
        *,
        limit: int = 1000,
        after: str | None = None,
    ) -> Page[StoredEvent]:
        """List events in the order received; see ``Store.list_received``."""
        with self._readers.lend() as reader:
            return export.list_received(reader, where, limit=limit, after=after)

    def delete_sessions(
        self,
        sessions: Sequence[tuple[str, str]],
        *,
        idle_since: datetime | None = None,
        on_progress: Callable[[int], None] = lambda _events: None,
    ) -> Removed:
        """Delete sessions; see ``Store.delete_sessions``."""
        idle_since_us = None if idle_since is None else microseconds(idle_since)
        return self._deletion.delete(sessions, idle_since_us, on_progress)

    def compact(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> bool:
        """Free disk space; see ``Store.compact``."""
        return self._compaction.compact(on_progress)

    def rebuild(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Rebuild all derived data; see ``Store.rebuild``."""
        total = 2 * self.count_events()
        with self._writer.transaction(foreign_keys=False) as connection:
            self._rebuild_rows(connection, lambda done, _: on_progress(done, total))
        while not self._follow():
            on_progress(total - self._indexing.count_behind(self._readers), total)
        on_progress(total, total)

    def size_bytes(self) -> int:
        """Return the size on disk; see ``Store.size_bytes``."""
        with self._readers.lend() as reader:
            return measures.size_bytes(reader.connection)

    def measure_apps(self) -> list[AppMeasures]:
        """Measure each app's share; see ``Store.measure_apps``."""
        with self._readers.lend() as reader:
            return measures.measure_apps(reader.connection)

    def count_events(self) -> int:
        """Count the events stored."""
        with self._readers.lend() as reader:
            return measures.count_events(reader.connection)

    def measure(self) -> StoreMeasures:
        """Measure the store; see ``Store.measure``."""
        with self._readers.lend() as reader:
            return measures.measure(reader.connection, self._path, self._indexing.followed)

    def health(self) -> StoreHealth:
        """Return the last known health; see ``Store.health``."""
        return self._health.now

    def look(self) -> None:
        """Check the store's health; see ``Store.look``."""
        with suppress(StoreError):
            if self._health.look():
                self._writer.try_writing()
            self._readers.try_reading()

    def tell_health(self, listener: Callable[[StoreHealth], None]) -> None:
        """Register a callback for changes of health; see ``Store.tell_health``."""
        self._health.tell(listener)

    def add_key(self, key: StoredKey) -> None:
        """Store a new key; see ``Store.add_key``."""
        with self._writer.transaction() as connection:
            keys.add(connection, key)

    def list_keys(self) -> list[StoredKey]:
        """List every key; see ``Store.list_keys``."""
        with self._readers.lend() as reader:
            return keys.list_all(reader.connection)

    def find_key(self, key_id: str) -> StoredKey | None:
        """Find a key; see ``Store.find_key``."""
        return self._keys.find(key_id)

    def has_keys(self) -> bool:
        """Whether a key was ever added; see ``Store.has_keys``."""
        return self._keys.has_any()

    def allows_origin(self, origin: str) -> bool:
        """Whether a key names this origin; see ``Store.allows_origin``."""
        return self._keys.allows_origin(origin)

    def revoke_key(self, key_id: str) -> bool:
        """Revoke a key; see ``Store.revoke_key``."""
        with self._writer.transaction() as connection:
            return keys.revoke(connection, key_id, time.time_ns() // 1000)

    def signing_secret(self) -> bytes:
        """Return the signing secret; see ``Store.signing_secret``."""
        with self._writer.transaction() as connection:
            return keys.secret(connection, "login")

    def close(self) -> None:
        """Close the file; see ``Store.close``."""
        self._follower.close()
        self._keys.close()
        self._readers.close()
        self._writer.close()

    def _follow(self) -> bool:
        return self._indexing.step(self._writer, self._readers)

    def _rebuild_rows(
        self,
        connection: sqlite3.Connection,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        rebuild_rows(connection, self._context_keys, self._derived, self._estimate, on_progress)

    def _forget(self) -> None:
        self._known.forget()
        self._indexing.forget()


def _are_whole(
    events: Sequence[ReceivedEvent | ReceivedPart | PreparedEvent],
) -> TypeGuard[Sequence[Prepared]]:
    return {*map(type, events)} <= {Prepared}


class _Preparing(threading.local):
    """Per-thread compressors, so that preparing a small body does not wait for a large one."""

    def __init__(self) -> None:
        self.encoder = PayloadWriter()
