"""The questions that the server asks a database; each store answers all of them.

Ingestion calls ``append``, the read API and the pages call the rest. Nothing here assumes SQL, a
file or row numbers: cursors are opaque strings that only the store which made them can read. Every
method may be called from any thread and may wait for the disk. A database that fails raises
``StoreError``, from any method; so do a question that takes too long and a call after ``close``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

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


class Store(Protocol):
    """Where events are kept."""

    @property
    def context_keys(self) -> tuple[str, ...]:
        """The keys of an event's context by which sessions can be filtered."""

    def prepare(self, events: Sequence[ReceivedEvent]) -> Sequence[PreparedEvent]:
        """Do what of ``append`` needs no database, while another thread may be storing others.

        What it returns is for ``append`` of the same store; it may wait as long as it likes.
        """

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

    def list_sessions(
        self,
        *,
        app: str | None = None,
        where: SessionFilter = SessionFilter(),  # noqa: B008 - frozen
        sort: SessionSort = "last_activity",
        limit: int = 50,
        after: str | None = None,
    ) -> Page[SessionSummary]:
        """List sessions of one app or of all: the latest, longest, dearest or worst first.

        Raises:
            ValueError: ``after`` is no cursor of this store and this order.
        """

    def get_session(self, app: str, session_id: str) -> SessionSummary | None:
        """Sum up one session; None when there is none."""

    def list_events(
        self, app: str, session_id: str, *, limit: int = 200, after: str | None = None
    ) -> Page[StoredEvent]:
        """List a session's events, oldest first, at most ``limit``; fewer when they are large.

        Oldest is the earliest ``created_at`` (where it is missing or no time: when the event was
        received), and among equals the one received first. An observation is recorded when it is
        complete, so this is the order in which the app came to know things; ``started_at`` is often
        null, and a guess in its place would shuffle what is certain with what is not.

        Raises:
            ValueError: ``after`` is no cursor of this store.
        """

    def find_event(self, app: str, session_id: str, event_id: str) -> StoredEvent | None:
        """Find one event of a session; None when it has none of that id."""

    def search(
        self, query: str, *, app: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[SearchHit]:
        """Find events by the words they hold, last received first, of one app or of all.

        What ``append`` stored is found at most two seconds later. A query is words, ``"phrases"``
        and ``prefix*``, and an event is found when it holds each; ``search_text`` says what of an
        event is searched. A message that a session's model calls resend is found once, at the first
        of them. A query without any letter or digit finds nothing.

        Raises:
            ValueError: ``after`` is no cursor of this store.
        """

    def statistics(
        self,
        *,
        by: Span,
        since: datetime,
        until: datetime,
        app: str | None = None,
        group: Group | None = None,
    ) -> list[Statistic]:
        """Sum up observations by hour or day (UTC), oldest first, of one app or of all.

        What ``append`` stored counts at most two seconds later. The span that holds ``since`` is
        counted whole; spans from ``until`` on are not. Where nothing happened there is no item.
        Grouped by model or tool, only observations that name one count.
        """

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

    def list_idle_sessions(
        self, *, app: str | None = None, before: datetime | None = None, limit: int = 100
    ) -> list[SessionSummary]:
        """List the sessions whose last activity is longest ago, that one first.

        Args:
            app: Only sessions of this app.
            before: Only sessions without activity at or after this time.
            limit: At most so many.
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

    def size_bytes(self) -> int:
        """Measure the room on the disk, without what ``compact`` would give back."""

    def measure_apps(self) -> list[AppMeasures]:
        """Say how much of the store each app takes; an app without events may be left out."""

    def rebuild(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Make everything derived anew from the raw events; returns when it is done.

        Questions are answered meanwhile; search and statistics miss what is not done yet.

        Args:
            on_progress: Called with how much is done and how much there is to do.
        """

    def list_apps(self) -> list[str]:
        """Name the apps that have sessions, in alphabetical order."""

    def count_events(self) -> int:
        """Count the events stored."""

    def measure(self) -> StoreMeasures:
        """Say how full the store is, and how far behind search and statistics are."""

    def health(self) -> StoreHealth:
        """Say how the store is, as last seen; touches no disk and waits for nothing."""

    def look(self) -> None:
        """Look how the store is, for ``health``; may wait for the disk. Raises nothing."""

    def tell_health(self, listener: Callable[[StoreHealth], None]) -> None:
        """Call back at each change of ``health``, in whatever thread noticed it."""

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

    def close(self) -> None:
        """Finish what is under way and let go of the database; closing twice is no error."""
