"""What the server asks of a database, by who asks it; each store answers all of it.

Nothing here assumes SQL, a file or row numbers: cursors are opaque strings that only the store
which made them can read. Every method may be called from any thread and may wait for the disk. A
database that fails raises ``StoreError``, from any method; so do a question that takes too long and
a call after ``close``.
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
from sessionbat.server.store.questions import Asking


class Events(Asking):
    """Events stored and asked for: ingestion appends, the read API and the pages ask."""

    @property
    @abstractmethod
    def context_keys(self) -> tuple[str, ...]:
        """The keys of an event's context by which sessions can be filtered."""

    @abstractmethod
    def prepare(self, events: Sequence[ReceivedEvent]) -> Sequence[PreparedEvent]:
        """Do what of ``append`` needs no database, while another thread may be storing others.

        What it returns is for ``append`` of the same store; it may wait as long as it likes.
        """

    @abstractmethod
    def append(self, events: Sequence[ReceivedEvent | PreparedEvent]) -> list[bool]:
        """Store events for good; when this returns, a power cut loses none.

        Either all are stored or, when this raises, none. An id names one event within its session:
        of two events with the same app, session and id the first counts, also within one call; the
        second changes nothing, whatever it holds.

        Returns:
            For each event in its place: True when it was stored now, False when it was there.

        Raises:
            StoreError: The database refused; nothing of this call was stored.
        """


class Keys(Protocol):
    """Who may write and read: asked at each request, changed by the command line."""

    def add_key(self, key: StoredKey) -> None:
        """Keep a new key; when this returns, ``find_key`` finds it, in every process."""

    def list_keys(self) -> list[StoredKey]:
        """List every key that was ever added, the oldest first."""

    def find_key(self, key_id: str) -> StoredKey | None:
        """Find a key, revoked or not; None when there never was one of that id.

        Asked at each request, on the server's event loop: this and ``has_keys`` answer in
        microseconds, wait for no other question, and see at once what another process changed.
        """

    def has_keys(self) -> bool:
        """Whether a key was ever added, revoked or not; once true, true for good."""

    def revoke_key(self, key_id: str) -> bool:
        """Let a key be used no more, from when this returns; False when there is none of that id.

        Revoking again changes nothing. The key stays in the list.
        """

    def signing_secret(self) -> bytes:
        """Give 32 random bytes, made at the first call and the same ever after."""


class Upkeep(Protocol):
    """The store as a whole: the command line, retention, metrics and health."""

    def list_received(
        self,
        where: EventFilter = EventFilter(),  # noqa: B008 - frozen
        *,
        limit: int = 1000,
        after: str | None = None,
    ) -> Page[StoredEvent]:
        """List events of all sessions in the order they were received; fewer when they are large.

        What is appended while the pages are read comes on a later page.

        Raises:
            ValueError: ``after`` is no cursor of this store, or the user's id is longer than a
                label is kept.
        """

    def delete_sessions(
        self,
        sessions: Sequence[tuple[str, str]],
        *,
        idle_since: datetime | None = None,
        on_progress: Callable[[int], None] = lambda _events: None,
    ) -> Removed:
        """Delete sessions, each an (app, id), with all that was made of them.

        Afterwards every answer is as if they had never been there. It works in short steps and lets
        others write in between; an event that arrives for one of them meanwhile goes, too. When it
        is cut short, a session may have lost its latest events only; delete it again.

        Args:
            sessions: What is not there is passed over.
            idle_since: Leave sessions that have activity at or after this time.
            on_progress: Called between steps with how many more events are deleted. It may raise,
                to stop.
        """

    def compact(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> bool:
        """Give back the room of what was deleted, and leave no word of it on the disk.

        It works in short steps, as ``delete_sessions`` does.

        Args:
            on_progress: As for ``rebuild``; the total is an estimate. It may raise, to stop.

        Returns:
            False when somebody was reading what has to be overwritten, or the disk is too full for
            all of it; try again later.
        """

    def rebuild(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Make everything derived anew from the raw events; returns when it is done.

        Questions are answered meanwhile; search and statistics miss what is not done yet.

        Args:
            on_progress: Called with how much is done and how much there is to do.
        """

    def size_bytes(self) -> int:
        """Measure the room on the disk, without what ``compact`` would give back."""

    def count_events(self) -> int:
        """Count the events stored."""

    def measure(self) -> StoreMeasures:
        """Say how full the store is, and how far behind search and statistics are."""

    def measure_apps(self) -> list[AppMeasures]:
        """Say how much of the store each app takes; an app without events may be left out."""

    def health(self) -> StoreHealth:
        """Say how the store is, as last seen; touches no disk and waits for nothing."""

    def look(self) -> None:
        """Look how the store is, for ``health``; may wait for the disk. Raises nothing."""

    def tell_health(self, listener: Callable[[StoreHealth], None]) -> None:
        """Call back at each change of ``health``, in whatever thread noticed it."""

    def close(self) -> None:
        """Finish what is under way and let go of the database; closing twice is no error."""


class Store(Events, Keys, Upkeep):
    """Where events are kept."""
