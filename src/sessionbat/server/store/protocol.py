"""The protocol of a store, in parts by caller; each database implements all of it.

The protocol assumes no SQL, file or row numbers: cursors are opaque strings that only the store
that made them can read. Every method may be called from any thread and may wait for the disk. Any
method raises ``StoreError`` when the database fails, when a query takes too long, and after
``close``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

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
from sessionbat.server.store.parts import ReceivedPart
from sessionbat.server.store.questions import Asking


class Events(Asking):
    """Storing and querying events: for ingestion, the read API and the pages."""

    @property
    @abstractmethod
    def context_keys(self) -> tuple[str, ...]:
        """The context keys by which sessions can be filtered."""

    @abstractmethod
    def prepare(self, events: Sequence[ReceivedEvent | ReceivedPart]) -> Sequence[PreparedEvent]:
        """Do the part of ``append`` that needs no database; may run while another thread stores.

        Pass the result to ``append`` of the same store, at any later time.
        """

    @abstractmethod
    def append(self, events: Sequence[ReceivedEvent | ReceivedPart | PreparedEvent]) -> list[bool]:
        """Store events durably: once this returns, they survive a power cut.

        Either all are stored or, if this raises, none. An id is unique within its session: of two
        events with the same app, session and id, also within one call, the first is stored and the
        second is ignored.

        A part is stored once by its app and key. Its rules say of all the parts of its trace, and
        of those that share a key with one of them, which become events, and in which session: each
        event is as if all had come at once, whatever came first. So an event may go to another
        session, be replaced or go; then every answer is as if it had never been otherwise. Where
        very many events change, that may take further transactions, done before this returns.

        Returns:
            For each event in order: True if it was stored now, False if it was already there. For a
            part: True if it says anything new.

        Raises:
            StoreError: The database failed; no event of this call is stored.
        """


class Keys(Protocol):
    """API keys: looked up at each request, changed by the command line."""

    def add_key(self, key: StoredKey) -> None:
        """Store a new key; once this returns, ``find_key`` finds it in every process."""

    def list_keys(self) -> list[StoredKey]:
        """List every key ever added, the oldest first."""

    def find_key(self, key_id: str) -> StoredKey | None:
        """Find a key by its id, revoked or not; None when it never existed.

        Called at each request on the server's event loop: this and ``has_keys`` return in
        microseconds, wait for no other query, and see changes by other processes at once.
        """

    def has_keys(self) -> bool:
        """Whether a key was ever added, revoked or not; once true, always true."""

    def allows_origin(self, origin: str) -> bool:
        """Whether a feedback key that is not revoked names this origin; asked as ``find_key``."""

    def revoke_key(self, key_id: str) -> bool:
        """Revoke a key, effective when this returns; False when no key has that id.

        Revoking again changes nothing. The key stays in the list.
        """

    def signing_secret(self) -> bytes:
        """Return 32 random bytes, created at the first call and the same ever after."""


class Upkeep(Protocol):
    """The store as a whole: the command line, retention, metrics and health."""

    def list_received(
        self,
        where: EventFilter = EventFilter(),  # noqa: B008 - frozen
        *,
        limit: int = 1000,
        after: str | None = None,
    ) -> Page[StoredEvent]:
        """List events of all sessions in the order received; pages of large events have fewer.

        Events appended while pages are read appear on a later page.

        Raises:
            ValueError: ``after`` is no cursor of this store, or the user's id is longer than a
                label can be.
        """

    def delete_sessions(
        self,
        sessions: Sequence[tuple[str, str]],
        *,
        idle_since: datetime | None = None,
        on_progress: Callable[[int], None] = lambda _events: None,
    ) -> Removed:
        """Delete sessions, each an (app, id), with all data derived from them.

        Afterwards every answer is as if they had never existed. Deletion works in short steps and
        lets others write in between; an event that arrives for one of the sessions meanwhile is
        deleted too. If it is interrupted, a session may have lost only its latest events; delete it
        again.

        Args:
            sessions: The sessions; unknown ones are skipped.
            idle_since: Keep sessions with activity at or after this time.
            on_progress: Called between steps with the number of newly deleted events. It may raise
                to stop.
        """

    def forget_spans(self, idle_since: datetime) -> int:
        """Forget how events were put together of parts, and parts that no event came of.

        Of traces to which nothing has come since that time; of one that goes on, the parts that are
        so many back that they are not looked at. A part that comes later is placed by itself.

        Returns:
            How many were forgotten.
        """

    def compact(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> bool:
        """Free the disk space of deleted data, and erase its words from the disk.

        It works in short steps, as ``delete_sessions`` does.

        Args:
            on_progress: As for ``rebuild``; the total is an estimate. It may raise to stop.

        Returns:
            False if a reader still used the data to overwrite, or the disk was too full to finish;
            try again later.
        """

    def rebuild(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Rebuild all derived data from the raw events; returns when it is done.

        Queries are answered meanwhile; search and statistics are incomplete until the end.

        Args:
            on_progress: Called with the amount done and the total.
        """

    def size_bytes(self) -> int:
        """Return the size on disk, without the part that ``compact`` would free."""

    def count_events(self) -> int:
        """Count the events stored."""

    def measure(self) -> StoreMeasures:
        """Measure the store's size, and how far behind search and statistics are."""

    def measure_apps(self) -> list[AppMeasures]:
        """Measure each app's share of the store; apps without events may be omitted."""

    def health(self) -> StoreHealth:
        """Return the last known health; no disk access, no waiting."""

    def look(self) -> None:
        """Check the store and update ``health``; may wait for the disk. Never raises."""

    def tell_health(self, listener: Callable[[StoreHealth], None]) -> None:
        """Register a callback for changes of ``health``; called in the thread that noticed."""

    def close(self) -> None:
        """Finish the work in progress and close the database; closing twice is allowed."""


class Store(Events, Keys, Upkeep):
    """The whole protocol of a store."""
