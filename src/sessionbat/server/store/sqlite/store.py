"""The default store: one SQLite file, one connection that writes, a few that only read.

What ``append`` has returned from is on the disk: WAL with ``synchronous=FULL`` syncs at each
commit. Readers see the last commit and never wait for the writer.
"""

from __future__ import annotations

import math
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from queue import LifoQueue
from typing import Final, NoReturn

from sessionbat.errors import StoreError
from sessionbat.event import RESERVED_CONTEXT
from sessionbat.server.reading.figures import microseconds
from sessionbat.server.records import (
    AppMeasures,
    EventFilter,
    Group,
    Page,
    PreparedEvent,
    ReceivedEvent,
    Removed,
    SearchHit,
    SessionFilter,
    SessionSort,
    SessionSummary,
    Span,
    Statistic,
    StoredEvent,
    StoredKey,
    StoreHealth,
    StoreMeasures,
)
from sessionbat.server.store.query_terms import parse_query
from sessionbat.server.store.sqlite import (
    deletion,
    export,
    keys,
    measures,
    rollups,
    session_list,
    text_index,
)
from sessionbat.server.store.sqlite.append import (
    Prepared,
    insert_events,
    pack_id,
    prepare,
    tally_of,
    unpack_id,
)
from sessionbat.server.store.sqlite.fair_lock import FairLock
from sessionbat.server.store.sqlite.health import Health, identity_of
from sessionbat.server.store.sqlite.indexer_thread import STEP, Follower
from sessionbat.server.store.sqlite.known_rows import KnownRows
from sessionbat.server.store.sqlite.payloads import PayloadReader, PayloadWriter
from sessionbat.server.store.sqlite.private_file import make_private
from sessionbat.server.store.sqlite.rebuild import rebuild_rows
from sessionbat.server.store.sqlite.recent_rows import RecentRows, recent_texts
from sessionbat.server.store.sqlite.schema import check_file, create_or_migrate

#: A page of events ends early once it holds this much JSON, so that large events fit in memory.
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
#: Seconds after which a question is given up, within a step of SQLite and between two.
QUERY_TIMEOUT: Final = 5.0

# As many as there are answers made at once (api, pages), and some for the server's own threads: a
# question of one kind never waits for a reader that one of another holds for seconds.
_MAX_READERS: Final = 16
_STEPS_BETWEEN_STATISTICS: Final = 16
_PAGES_GIVEN_BACK: Final = 128  # 1 MB, some milliseconds
_PAGES_MERGED: Final = 250  # of the text index, 1 MB, some 50 ms
_INDEX_PAGE_BYTES: Final = 4096
_LONGEST_PAUSE: Final = 0.25
_LOG_TRIES: Final = 20
# How long a write waits for another process's: a command's steps take some hundredth of a second,
# but SQLite asks at intervals and may miss the moments between them.
_BUSY_TIMEOUT_MS: Final = 30_000
_CURSOR = re.compile(r"([a-z]?)([0-9]{1,18})-([0-9]{1,18})\Z")
_LAST_NUMBER: Final = 2**63 - 1
# What a cursor begins with, so that one of another question is known.
_ORDER_MARKS: Final[dict[SessionSort, str]] = {
    "last_activity": "",
    "duration": "d",
    "cost": "c",
    "errors": "e",
}


class SqliteStore:
    """Events in one SQLite file; the ``Store`` protocol says what each method promises.

    Args:
        path: The file; made when it is not there.
        context_keys: What sessions can be filtered by, beside the reserved keys.
        query_timeout: Seconds after which a question is given up.

    Raises:
        StoreError: The file cannot be opened or is not a store of this version; it is untouched.
    """

    def __init__(
        self, path: str, context_keys: Sequence[str] = (), query_timeout: float = QUERY_TIMEOUT
    ) -> None:
        self._path = Path(path)
        self._context_keys: tuple[str, ...] = tuple(
            dict.fromkeys((*RESERVED_CONTEXT, *context_keys))
        )
        check_file(self._path)
        self._preparing = _Preparing()
        self._writing = FairLock()  # guards _writer and what is remembered of its writing
        self._writer: sqlite3.Connection | None = _open_writer(self._path, self._context_keys)
        self._health = Health(self._path)
        self._has_text_index = text_index.has_fts5(self._writer)
        self._payloads = PayloadWriter()
        self._known = KnownRows()
        self._recent_texts = recent_texts()
        self._recent_figures = RecentRows[rollups.Figures]()
        self._data_version = 0
        self._written = PayloadReader()  # used inside transactions
        self._readers = _Readers(self._path, query_timeout, self._health)
        self._keys = keys.KeyReader(self._path, self._health.note_failure)
        self._steps = 0  # of the following thread
        self._follower = Follower(self._follow, is_known=self._health.has_told)
        self._follower.tell(self._count_unfollowed())

    def prepare(self, events: Sequence[ReceivedEvent]) -> Sequence[Prepared]:
        """Read and compress events; see ``Store.prepare``."""
        return prepare(events, self._preparing.encoder, self._context_keys)

    def append(self, events: Sequence[ReceivedEvent | PreparedEvent]) -> list[bool]:
        """Store events in one transaction; see ``Store.append``."""
        received = [each for each in events if isinstance(each, ReceivedEvent)]
        # Not for nothing: meanwhile another thread may be preparing what comes next.
        fresh = iter(self.prepare(received) if received else ())
        prepared = [
            next(fresh) if isinstance(each, ReceivedEvent) else _prepared_here(each)
            for each in events
        ]
        tallies = tally_of(prepared)
        with self._transaction(remembers=True, grows=True) as connection:
            self._known.trim()
            inserted = insert_events(connection, prepared, tallies, self._payloads, self._known)
            if self._has_text_index:
                self._recent_texts.add(inserted.texts)
            self._recent_figures.add(inserted.figures)
        self._health.note_written()
        self._follower.tell(sum(inserted.is_new))
        return inserted.is_new

    @property
    def context_keys(self) -> tuple[str, ...]:
        """What sessions can be filtered by; see ``Store.context_keys``."""
        return self._context_keys

    def list_sessions(
        self,
        *,
        app: str | None = None,
        where: SessionFilter = SessionFilter(),  # noqa: B008 - frozen
        sort: SessionSort = "last_activity",
        limit: int = 50,
        after: str | None = None,
    ) -> Page[SessionSummary]:
        """List sessions; see ``Store.list_sessions``."""
        with self._readers.lend() as reader:
            found = session_list.query(
                reader.connection,
                app=app,
                where=where,
                sort=sort,
                limit=limit + 1,
                after=None if after is None else _parse_cursor(after, _ORDER_MARKS[sort]),
            )
        items = [summary for _, _, summary in found[:limit]]
        if len(found) <= limit:
            return Page(items, None)
        place, number, _ = found[limit - 1]
        return Page(items, _cursor(place, number, _ORDER_MARKS[sort]))

    def get_session(self, app: str, session_id: str) -> SessionSummary | None:
        """Sum up one session; see ``Store.get_session``."""
        with self._readers.lend() as reader:
            row = reader.connection.execute(
                f"SELECT {session_list.COLUMNS} FROM sessions JOIN apps ON apps.id = app"
                " WHERE apps.name = ? AND session_id = ?",
                (app, session_id),
            ).fetchone()
        return None if row is None else session_list.summary(row)

    def list_events(
        self, app: str, session_id: str, *, limit: int = 200, after: str | None = None
    ) -> Page[StoredEvent]:
        """List a session's events, oldest first; see ``Store.list_events``."""
        at_us, number = (-1, -1) if after is None else _parse_cursor(after)
        items: list[StoredEvent] = []
        size = 0
        with self._readers.lend() as reader:
            rows = reader.connection.execute(
                "SELECT events.id, at_us, event_id, codec, data"
                " FROM events JOIN payloads ON event = events.id"
                " WHERE session = (SELECT sessions.id FROM sessions JOIN apps ON apps.id = app"
                " WHERE apps.name = ? AND session_id = ?)"
                " AND (at_us, events.id) > (?, ?) ORDER BY at_us, events.id LIMIT ?",
                (app, session_id, at_us, number, limit + 1),
            )
            for row in rows:
                if len(items) == limit or size >= MAX_PAGE_BYTES:
                    rows.close()
                    return Page(items, _cursor(at_us, number))
                number, at_us, event_id, codec, data = row
                raw = reader.payloads.decode(reader.connection, codec, data)
                items.append(StoredEvent(unpack_id(event_id), raw))
                size += len(raw)
        return Page(items, None)

    def find_event(self, app: str, session_id: str, event_id: str) -> StoredEvent | None:
        """Find one event; see ``Store.find_event``."""
        with self._readers.lend() as reader:
            row = reader.connection.execute(
                "SELECT codec, data FROM events JOIN payloads ON event = events.id"
                " WHERE event_id = ? AND session = (SELECT sessions.id FROM sessions"
                " JOIN apps ON apps.id = app WHERE apps.name = ? AND session_id = ?)",
                (pack_id(event_id), app, session_id),
            ).fetchone()
            return (
                None
                if row is None
                else StoredEvent(event_id, reader.payloads.decode(reader.connection, *row))
            )

    def search(
        self, query: str, *, app: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[SearchHit]:
        """Find events by their words; see ``Store.search``."""
        below = _LAST_NUMBER if after is None else _parse_cursor(after, "s")[0]
        terms = parse_query(query)
        if not terms:
            return Page([], None)
        with self._readers.lend() as reader:
            if not text_index.has_fts5(reader.connection):
                raise StoreError(
                    "search needs an SQLite with FTS5, and Python's here has none", slug="no-search"
                )
            found = text_index.query(
                reader.connection,
                reader.payloads,
                terms,
                app=app,
                limit=limit,
                below=below,
                check_time=reader.check_time,
            )
        items = [hit for _, hit in found.hits]
        return Page(items, _cursor(found.hits[-1][0], 0, "s") if found.is_cut else None)

    def statistics(
        self,
        *,
        by: Span,
        since: datetime,
        until: datetime,
        app: str | None = None,
        group: Group | None = None,
    ) -> list[Statistic]:
        """Sum up by hour or day; see ``Store.statistics``."""
        with self._readers.lend() as reader:
            return rollups.query(
                reader.connection,
                app=app,
                by=by,
                since_us=microseconds(since),
                until_us=microseconds(until),
                group=group,
            )

    def list_received(
        self,
        where: EventFilter = EventFilter(),  # noqa: B008 - frozen
        *,
        limit: int = 1000,
        after: str | None = None,
    ) -> Page[StoredEvent]:
        """List events as they were received; see ``Store.list_received``."""
        number = 0 if after is None else _parse_cursor(after, "r")[0]
        with self._readers.lend() as reader:
            found = export.read_page(
                reader.connection,
                reader.payloads,
                where,
                after=number,
                limit=limit,
                max_bytes=MAX_PAGE_BYTES,
            )
        items = [StoredEvent(unpack_id(event_id), raw) for event_id, raw in found.items]
        following = None if found.up_to is None else _cursor(found.up_to, 0, "r")
        return Page(items, following, found.unreadable)

    def list_idle_sessions(
        self, *, app: str | None = None, before: datetime | None = None, limit: int = 100
    ) -> list[SessionSummary]:
        """List the longest idle sessions; see ``Store.list_idle_sessions``."""
        with self._readers.lend() as reader:
            return session_list.query_idle(
                reader.connection,
                app=app,
                before_us=None if before is None else microseconds(before),
                limit=limit,
            )

    def delete_sessions(
        self,
        sessions: Sequence[tuple[str, str]],
        *,
        idle_since: datetime | None = None,
        on_progress: Callable[[int], None] = lambda _events: None,
    ) -> Removed:
        """Delete sessions; see ``Store.delete_sessions``."""
        idle_since_us = None if idle_since is None else microseconds(idle_since)
        removed, at, has_begun = Removed(), 0, False
        with self._sparing_room():
            while at < len(sessions):
                step = self._delete_some(sessions[at:], idle_since_us, has_begun=has_begun)
                removed += step.removed
                at, has_begun = at + step.done, step.has_begun
                on_progress(step.removed.events)
        return removed

    @contextmanager
    def _sparing_room(self) -> Iterator[None]:
        """Use little of the log in the block, if the disk is as good as full."""
        if not self._health.lacks_room():
            yield
            return
        self._set_merging(is_on=False)
        try:
            yield
        finally:
            with suppress(StoreError):
                self._give_back_all_space()
                self._empty_log()
                self._set_merging(is_on=True)

    def _set_merging(self, *, is_on: bool) -> None:
        with self._transaction() as connection:
            text_index.set_merging(connection, is_on=is_on)

    def _delete_some(
        self,
        sessions: Sequence[tuple[str, str]],
        idle_since_us: int | None,
        *,
        has_begun: bool,
        max_events: int | None = None,
    ) -> deletion.Step:
        self._empty_log_if_needed()
        max_events = max_events or deletion.STEP_EVENTS
        try:
            with self._short_step(), self._transaction(foreign_keys=False) as connection:
                return deletion.delete_step(
                    connection,
                    self._written,
                    sessions,
                    idle_since_us,
                    has_begun=has_begun,
                    max_events=max_events,
                )
        except StoreError as exc:
            if exc.slug != "store-full" or max_events == 1:
                raise
        # What is deleted is written to the log first: a little may still have its place.
        return self._delete_some(
            sessions, idle_since_us, has_begun=has_begun, max_events=max_events // 8 or 1
        )

    def compact(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> bool:
        """Give back room; see ``Store.compact``."""
        is_merged = True
        with self._giving_back_first():
            try:
                self._merge_text_index(on_progress)
            except StoreError as exc:
                if exc.slug != "store-full":
                    raise
                is_merged = False  # what can be given back without it still is
        self._give_back_all_space()
        return self._empty_log() and is_merged

    @contextmanager
    def _giving_back_first(self) -> Iterator[None]:
        """Free pages without overwriting them in the block, if the disk is as good as full.

        They would go through the log first, all of a merge at once. They leave the file afterwards.
        """
        with self._readers.lend() as reader:
            index_bytes = text_index.size_in_pages(reader.connection) * _INDEX_PAGE_BYTES
        if not self._health.lacks_room(beside=2 * index_bytes):
            yield
            return
        self._give_back_all_space()
        self._empty_log()
        self._set_overwriting("FAST")
        try:
            yield
        finally:
            self._set_overwriting("ON")

    def _set_overwriting(self, how: str) -> None:
        with self._writing:
            if self._writer is not None:
                self._writer.execute(f"PRAGMA secure_delete = {how}").fetchone()

    def _give_back_all_space(self) -> None:
        while True:
            with self._short_step():
                if self._give_back_space(least_part=0):
                    break

    def size_bytes(self) -> int:
        """Measure the file; see ``Store.size_bytes``."""
        with self._readers.lend() as reader:
            return _size_bytes(reader.connection)

    def measure_apps(self) -> list[AppMeasures]:
        """Say how much each app takes; see ``Store.measure_apps``."""
        with self._readers.lend() as reader:
            return measures.measure_apps(reader.connection)

    def rebuild(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Make everything derived anew; see ``Store.rebuild``."""
        total = 2 * self.count_events()
        with self._transaction(foreign_keys=False) as connection:
            rebuild_rows(connection, self._context_keys, lambda done, _: on_progress(done, total))
        while not self._follow():
            on_progress(total - self._count_unfollowed(), total)
        on_progress(total, total)

    def list_apps(self) -> list[str]:
        """Name the apps; see ``Store.list_apps``."""
        with self._readers.lend() as reader:
            rows = reader.connection.execute(
                "SELECT name FROM apps WHERE EXISTS"
                " (SELECT 1 FROM sessions WHERE sessions.app = apps.id) ORDER BY name"
            )
            return [name for (name,) in rows]

    def count_events(self) -> int:
        """Count the events stored."""
        with self._readers.lend() as reader:
            (count,) = reader.connection.execute("SELECT count(*) FROM events").fetchone()
            return int(count)

    def measure(self) -> StoreMeasures:
        """Say how full it is; see ``Store.measure``."""
        with self._readers.lend() as reader:
            return measures.measure(reader.connection, self._path, text_too=self._has_text_index)

    def health(self) -> StoreHealth:
        """Say how the store is; see ``Store.health``."""
        return self._health.now

    def look(self) -> None:
        """Look how the store is; see ``Store.look``."""
        with suppress(StoreError):
            if self._health.look():
                self._try_writing()
            self._readers.try_reading()

    def tell_health(self, listener: Callable[[StoreHealth], None]) -> None:
        """Call back at each change; see ``Store.tell_health``."""
        self._health.tell(listener)

    def add_key(self, key: StoredKey) -> None:
        """Keep a new key; see ``Store.add_key``."""
        with self._transaction() as connection:
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

    def revoke_key(self, key_id: str) -> bool:
        """Let a key be used no more; see ``Store.revoke_key``."""
        with self._transaction() as connection:
            return keys.revoke(connection, key_id, time.time_ns() // 1000)

    def signing_secret(self) -> bytes:
        """Give the bytes to sign with; see ``Store.signing_secret``."""
        with self._transaction() as connection:
            return keys.secret(connection, "login")

    def close(self) -> None:
        """Let go of the file; see ``Store.close``."""
        self._follower.close()
        self._keys.close()
        self._readers.close()
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _try_writing(self) -> None:
        with self._transaction() as connection:
            connection.execute("UPDATE progress SET up_to = up_to")
        self._health.note_written()

    def _follow(self) -> bool:
        with self._transaction(remembers=True, is_durable=False, grows=True) as connection:
            is_done = not self._has_text_index or text_index.follow(
                connection, self._written, self._recent_texts, STEP
            )
            # Not each time: most of the work is to read and write a rollup, however many events
            # it is for.
            self._steps = (self._steps + 1) % _STEPS_BETWEEN_STATISTICS
            if is_done or not self._steps:
                limit = STEP * _STEPS_BETWEEN_STATISTICS
                is_done = rollups.follow(connection, self._recent_figures, limit) and is_done
        return is_done and self._give_back_space()

    @contextmanager
    def _short_step(self) -> Iterator[None]:
        """Let others write as long as the step in the block did."""
        started = time.monotonic()
        yield
        time.sleep(min(_LONGEST_PAUSE, time.monotonic() - started))

    def _merge_text_index(self, on_progress: Callable[[int, int], None]) -> None:
        with self._readers.lend() as reader:
            total = text_index.size_in_pages(reader.connection)
        done, is_done = 0, not self._has_text_index
        while not is_done:
            self._empty_log_if_needed()
            with self._short_step(), self._transaction() as connection:
                is_done = text_index.merge(connection, _PAGES_MERGED, begin=not done)
            done += _PAGES_MERGED
            on_progress(min(done, total), total)
        on_progress(total, total)

    def _empty_log(self) -> bool:
        """Bring the log's pages into the file and cut the log to nothing; False when it is read."""
        for _ in range(_LOG_TRIES):
            with self._short_step(), self._writing:
                if self._writer is None:
                    _raise_closed()
                # Not longer: meanwhile nobody else can write.
                self._writer.execute("PRAGMA busy_timeout = 500")
                try:
                    (is_busy, *_) = self._writer.execute(
                        "PRAGMA wal_checkpoint(TRUNCATE)"
                    ).fetchone()
                except sqlite3.OperationalError:
                    is_busy = True
                finally:
                    self._writer.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            if not is_busy:
                return True
        return False

    def _empty_log_if_needed(self) -> None:
        self._health.check_files()  # how long the log is now
        if self._health.is_tight(self._health.room()):
            with self._writing:
                if self._writer is not None:
                    self._empty_log_quickly(self._writer)

    def _empty_log_quickly(self, connection: sqlite3.Connection) -> None:
        """Bring the log into the file and give back its room, unless a reader or the disk objects.

        The caller holds the lock on writing.
        """
        connection.execute("PRAGMA busy_timeout = 100")
        try:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")

    def _give_back_space(self, least_part: float = 0.02) -> bool:
        """Shorten the file a little, as merging the text index leaves unused pages behind.

        Returns:
            True when no more than this part of it is left to give.
        """
        with self._writing, self._telling():
            if self._writer is None:
                return True
            (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
            (unused,) = self._writer.execute("PRAGMA freelist_count").fetchone()
            if unused <= pages * least_part:
                return True
            # A script, because `execute` stops after the first page.
            self._writer.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")
            return False

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise self._health.note_failure(exc) from exc

    def _count_unfollowed(self) -> int:
        with self._readers.lend() as reader:
            (count,) = reader.connection.execute(
                "SELECT count(*) FROM events WHERE id > (SELECT min(up_to) FROM progress"
                " WHERE name = 'statistics' OR ?)",
                (self._has_text_index,),
            ).fetchone()
            return int(count)

    @contextmanager
    def _transaction(
        self,
        *,
        remembers: bool = False,
        foreign_keys: bool = True,
        is_durable: bool = True,
        grows: bool = False,
    ) -> Iterator[sqlite3.Connection]:
        """Lend the writer for one transaction.

        Args:
            remembers: The transaction changes nothing that is remembered but by adding to it. Any
                other, one that fails, and one of another connection, ends what is remembered.
            foreign_keys: Whether SQLite looks after them.
            is_durable: Whether it has to survive a power cut by itself: what is derived is made
                again. What is committed later is not there without it.
            grows: Whether it is refused while the disk is nearly full.
        """
        with self._writing:
            connection = self._writer
            if connection is None:
                _raise_closed()
            self._health.check_files()
            if grows:
                room = self._health.room()
                if self._health.is_tight(room):
                    self._empty_log_quickly(connection)
                    room = self._health.room()
                self._health.check_writable(room)
                if not is_durable:
                    self._health.check_room_for_index(room)
            self._health.begin_writing()
            try:
                if (
                    not foreign_keys
                ):  # for who deletes: each interaction would cost a scan of events
                    connection.execute("PRAGMA foreign_keys = OFF")
                if not is_durable:
                    connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                if self._others_have_written(connection) or not remembers:
                    self._forget()
                yield connection
                connection.execute("COMMIT")
                if is_durable:
                    self._health.check_files()  # else it is committed to nowhere
            except BaseException as exc:
                self._forget()
                if connection.in_transaction:
                    with suppress(sqlite3.Error):  # a disk that fails may fail this, too
                        connection.execute("ROLLBACK")
                if isinstance(exc, sqlite3.Error):
                    raise self._health.note_failure(exc) from exc
                raise
            finally:
                self._health.end_writing()
                if not is_durable:
                    connection.execute("PRAGMA synchronous = FULL")
                if not foreign_keys:
                    connection.execute("PRAGMA foreign_keys = ON")

    def _others_have_written(self, connection: sqlite3.Connection) -> bool:
        before = self._data_version
        (self._data_version,) = connection.execute("PRAGMA data_version").fetchone()
        return self._data_version != before

    def _forget(self) -> None:
        self._known.forget()
        self._recent_texts.forget()
        self._recent_figures.forget()


def _prepared_here(event: PreparedEvent) -> Prepared:
    assert isinstance(event, Prepared), "prepared by another store"
    return event


class _Preparing(threading.local):
    """What each thread prepares events with: a small body must not wait for a large one."""

    def __init__(self) -> None:
        self.encoder = PayloadWriter()


class _Reader:
    """One read-only connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self.payloads = PayloadReader()
        self.deadline = math.inf
        self.timeout = math.inf
        # Called every so many steps of SQLite's machine, about each millisecond.
        self.connection.set_progress_handler(lambda: time.monotonic() > self.deadline, 20_000)

    def start_clock(self, timeout: float) -> None:
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout

    def check_time(self) -> None:
        """Give the question up when its time is over; SQLite does so by itself."""
        if time.monotonic() > self.deadline:
            raise self.too_slow()

    def too_slow(self) -> StoreError:
        return StoreError(
            f"the question took longer than {self.timeout:g} s; ask for less",
            slug="query-too-slow",
        )


class _Readers:
    """So many readers, opened when first needed, lent to one thread each."""

    def __init__(self, path: Path, timeout: float, health: Health) -> None:
        self._path = path
        self._timeout = timeout
        self._health = health
        self._closed = False
        self._free: LifoQueue[_Reader | None] = LifoQueue()
        for _ in range(_MAX_READERS):
            self._free.put(None)  # a place for one that is not open yet

    @contextmanager
    def lend(self) -> Iterator[_Reader]:
        """Lend a reader; waits while all are in use."""
        reader = self._free.get()
        try:
            if self._closed:
                _raise_closed()
            self._health.check_files()
            if reader is None:
                reader = _Reader(self._path)
            reader.start_clock(self._timeout)
            yield reader
        except sqlite3.OperationalError as exc:
            if reader is not None and exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise reader.too_slow() from exc
            raise self._health.note_failure(exc) from exc
        except sqlite3.Error as exc:
            raise self._health.note_failure(exc) from exc
        finally:
            self._free.put(reader)

    def try_reading(self) -> None:
        """Read the head of the file as somebody would who opens it now.

        Raises:
            StoreError: It cannot be read.
        """
        self._health.check_files()
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            pass  # too many files are open, or the file is locked: not for this to say
        except sqlite3.DatabaseError as exc:
            raise self._health.note_failure(exc) from exc
        finally:
            connection.close()

    def close(self) -> None:
        """Close all, each once its thread has given it back."""
        self._closed = True
        for reader in [self._free.get() for _ in range(_MAX_READERS)]:
            if reader is not None:
                reader.connection.close()
            self._free.put(None)


def _open_writer(path: Path, context_keys: tuple[str, ...]) -> sqlite3.Connection:
    try:
        make_private(path)
        before = identity_of(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        opened = before or identity_of(path)
    except sqlite3.Error as exc:
        raise _unusable(path, exc) from exc
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # What is deleted is overwritten, also by the text index's merges. What it costs an append
        # could not be measured: docs/decisions/0043.
        connection.execute("PRAGMA secure_delete = ON")
        # Before WAL: so the file is recognisable as ours from its first page on.
        create_or_migrate(connection, path, lambda db: rebuild_rows(db, context_keys))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        text_index.create_index(connection)
        # A read-only file opens without complaint: find out now, not at the first event.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as exc:
        connection.close()
        if opened != identity_of(path):
            # Another was put in its place while this waited for its lock (sqlite_backup.restore):
            # SQLite refuses to write to a file that has been moved.
            return _open_writer(path, context_keys)
        raise _unusable(path, exc) from exc
    return connection


def _size_bytes(connection: sqlite3.Connection) -> int:
    pages, unused, page_bytes = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - unused) * page_bytes


def _unusable(path: Path, exc: sqlite3.Error | OSError) -> StoreError:
    return StoreError(
        f"cannot use the store {str(path)!r}: {exc}; name a file in a directory that exists and"
        " may be written",
        slug="store-unusable",
    )


def _raise_closed() -> NoReturn:
    raise StoreError("the store is closed", slug="store-closed")


def _cursor(place: int, number: int, of: str = "") -> str:
    return f"{of}{place}-{number}"


def _parse_cursor(cursor: str, of: str = "") -> tuple[int, int]:
    match = _CURSOR.match(cursor)
    if match is None or match[1] != of:
        raise ValueError("not a cursor of this store")
    return int(match[2]), int(match[3])
