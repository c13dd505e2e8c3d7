"""/sessions and its twin /sessions.json: the list of sessions, latest activity first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sessionbat.server.access.answers_at_once import AtOnce
from sessionbat.server.access.permissions import access_of, visible_to
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.pages.rendering import as_json, page, render, twin
from sessionbat.server.records import Page, SessionSummary
from sessionbat.server.store.protocol import Store
from sessionbat.server.store.scoped import Visible
from sessionbat.server.web.addresses import SESSIONS, SESSIONS_DATA, START, addresses_of, here
from sessionbat.server.web.parameters import Query
from sessionbat.server.web.session_parameters import (
    AFTER,
    APP,
    SORT,
    limit,
    refused_cursors,
    session_filter,
    session_list,
)

SESSIONS_PER_PAGE: Final = 50
_LIMIT: Final = limit(SESSIONS_PER_PAGE, SESSIONS_PER_PAGE)

_LISTS_AT_ONCE: Final = 4


def routes(store: Store) -> list[GuardedRoute]:
    """List the routes of the list, its twin, and ``/``, which redirects to it."""
    in_turn, pages = AtOnce(_LISTS_AT_ONCE), _SessionList(store)
    return [
        GuardedRoute(START, _start, need=Need.READ_ONE_APP, face=Face.PAGE),
        GuardedRoute(SESSIONS, in_turn(page(pages.show)), need=Need.READ_ONE_APP, face=Face.PAGE),
        GuardedRoute(
            SESSIONS_DATA, in_turn(twin(pages.data)), need=Need.READ_ONE_APP, face=Face.JSON
        ),
    ]


def _start(request: Request) -> Response:
    return RedirectResponse(addresses_of(request.scope).sessions())


class _SessionList:
    """Handlers of the session list of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parameters = session_list(store.context_keys, _LIMIT)

    def show(self, request: Request) -> str:
        """Show the list, or a first-steps page while there are no sessions."""
        visible, query = visible_to(request.scope, self._store), self._query(request)
        found, apps = _list(visible, query), visible.list_apps()
        address = here(request.scope)
        return render(
            "sessions.html" if apps else "welcome.html",
            request,
            twin=address.data(),
            app=query.get(APP),
            apps=apps,
            sessions=found.items,
            older=address.changed(after=found.next) if found.next else None,
            newest=address.changed(after=None) if query.get(AFTER) else None,
            endpoint=addresses_of(request.scope).endpoint,
            needs_key=not access_of(request.scope).is_open,
        )

    def data(self, request: Request) -> bytes:
        """Return the list's data as JSON."""
        visible, query = visible_to(request.scope, self._store), self._query(request)
        found = _list(visible, query)
        return as_json(
            {
                "app": query.get(APP),
                "apps": visible.list_apps(),
                "next": found.next,
                "items": [asdict(summary) for summary in found.items],
            }
        )

    def _query(self, request: Request) -> Query:
        given = request.query_params.multi_items()
        return Query("sessions", self._parameters, given, ignore_others=True)


def _list(visible: Visible, query: Query) -> Page[SessionSummary]:
    with refused_cursors():
        return visible.list_sessions(
            app=query.get(APP),
            where=session_filter(query, visible.context_keys),
            sort=query.require(SORT),
            limit=query.require(_LIMIT),
            after=query.get(AFTER),
        )
