"""The store as one key may see it: with a key of one app, no other app is there.

The read API and the pages ask this and never the store itself. An app that is not theirs to see
answers like one that was never heard of, and costs no question to the database.
"""

from __future__ import annotations

from datetime import datetime

from sessionbat.server.records import (
    Group,
    Page,
    SearchHit,
    SessionFilter,
    SessionSort,
    SessionSummary,
    Span,
    Statistic,
    StoredEvent,
)
from sessionbat.server.store.protocol import Store


class Visible:
    """Answers the questions of ``Store`` that only read, about what may be seen.

    Args:
        store: Everything.
        app: The only app that may be seen; None: every app.
    """

    def __init__(self, store: Store, app: str | None) -> None:
        self._store = store
        self._app = app

    @property
    def context_keys(self) -> tuple[str, ...]:
        """See ``Store.context_keys``."""
        return self._store.context_keys

    def list_sessions(
        self,
        *,
        app: str | None = None,
        where: SessionFilter = SessionFilter(),  # noqa: B008 - frozen
        sort: SessionSort = "last_activity",
        limit: int = 50,
        after: str | None = None,
    ) -> Page[SessionSummary]:
        """See ``Store.list_sessions``."""
        if not self._shows(app):
            return Page([], None)
        return self._store.list_sessions(
            app=app or self._app, where=where, sort=sort, limit=limit, after=after
        )

    def get_session(self, app: str, session_id: str) -> SessionSummary | None:
        """See ``Store.get_session``."""
        return self._store.get_session(app, session_id) if self._shows(app) else None

    def list_events(
        self, app: str, session_id: str, *, limit: int = 200, after: str | None = None
    ) -> Page[StoredEvent]:
        """See ``Store.list_events``."""
        if not self._shows(app):
            return Page([], None)
        return self._store.list_events(app, session_id, limit=limit, after=after)

    def find_event(self, app: str, session_id: str, event_id: str) -> StoredEvent | None:
        """See ``Store.find_event``."""
        return self._store.find_event(app, session_id, event_id) if self._shows(app) else None

    def search(
        self, query: str, *, app: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[SearchHit]:
        """See ``Store.search``."""
        if not self._shows(app):
            return Page([], None)
        return self._store.search(query, app=app or self._app, limit=limit, after=after)

    def statistics(
        self,
        *,
        by: Span,
        since: datetime,
        until: datetime,
        app: str | None = None,
        group: Group | None = None,
    ) -> list[Statistic]:
        """See ``Store.statistics``."""
        if not self._shows(app):
            return []
        return self._store.statistics(
            by=by, since=since, until=until, app=app or self._app, group=group
        )

    def list_apps(self) -> list[str]:
        """See ``Store.list_apps``."""
        return [app for app in self._store.list_apps() if self._shows(app)]

    def _shows(self, app: str | None) -> bool:
        return self._app is None or app is None or app == self._app
