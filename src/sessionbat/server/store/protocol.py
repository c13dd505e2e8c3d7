"""The questions that the server asks a database; each store answers all of them.

Ingestion calls ``append``, the read API and the pages call the rest. Nothing here assumes SQL, a
file or row numbers: cursors are opaque strings that only the store which made them can read. Every
method may be called from any thread and may wait for the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sessionbat.server.records import Page, Receipt, SessionSummary, StoredEvent


class Store(Protocol):
    """Where events are kept."""

    def append(self, events: Sequence[dict[str, Any]]) -> Receipt:
        """Store events for good, each (app, id) once; when this returns, a power cut loses none.

        The events have passed ``sessionbat.event.find_problem``. Either all are stored or, when this
        raises, none.

        Raises:
            StoreError: The database refused; nothing of this call was stored.
        """

    def list_sessions(
        self, *, app: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[SessionSummary]:
        """List sessions, latest activity first, of one app or of all.

        Raises:
            ValueError: ``after`` is no cursor of this store.
        """

    def get_session(self, app: str, session_id: str) -> SessionSummary | None:
        """Sum up one session; None when there is none."""

    def list_events(
        self, app: str, session_id: str, *, limit: int = 200, after: str | None = None
    ) -> Page[StoredEvent]:
        """List a session's events, oldest first.

        Raises:
            ValueError: ``after`` is no cursor of this store.
        """

    def list_apps(self) -> list[str]:
        """Name the apps that have sessions, in alphabetical order."""

    def count_events(self) -> int:
        """Count the events stored."""

    def close(self) -> None:
        """Finish what is under way and let go of the database; further calls raise StoreError."""
