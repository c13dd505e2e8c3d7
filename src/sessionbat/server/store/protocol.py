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
    Group,
    Page,
    ReceivedEvent,
    SearchHit,
    SessionFilter,
    SessionSort,
    SessionSummary,
    Span,
    Statistic,
    StoredEvent,
    StoreMeasures,
)


class Store(Protocol):
    """Where events are kept."""

    @property
    def context_keys(self) -> tuple[str, ...]:
        """The keys of an event's context by which sessions can be filtered."""

    def append(self, events: Sequence[ReceivedEvent]) -> list[bool]:
        """Store events for good, each (app, id) once; when this returns, a power cut loses none.

        Either all are stored or, when this raises, none. Of two events with the same app and id the
        first counts, also within one call; the second changes nothing, whatever it holds.

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

    def close(self) -> None:
        """Finish what is under way and let go of the database; closing twice is no error."""
