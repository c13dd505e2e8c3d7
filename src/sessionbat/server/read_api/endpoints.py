"""The endpoints of the read API below /api/v1: for each a query and the JSON of its answer.

Lists answer ``{"items": [...], "next": cursor or null}`` and take ``limit`` and ``after``. A
request that cannot be answered gets an error object with a slug. ``endpoints`` lists all endpoints;
``read_operations`` declares their parameters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.answers_at_once import AtOnce, on_the_beat
from sessionbat.server.access.permissions import access_of, visible_to
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.read_api import read_operations
from sessionbat.server.records import SessionSummary, Span
from sessionbat.server.store.protocol import Store
from sessionbat.server.store.scoped import Visible
from sessionbat.server.web.operations import Operation
from sessionbat.server.web.parameters import Query
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.session_parameters import (
    AFTER,
    APP,
    ITS_APP,
    SESSION_ID,
    SORT,
    no_such_session,
    refused_cursors,
    session_filter,
)

_SPANS: Final[dict[Span, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
#: The number of them to return when ``from`` is missing.
_DEFAULT_SPANS: Final[dict[Span, int]] = {"hour": 24, "day": 30}


#: Seconds after which a question is worth a line in the log.
_SLOW: Final = 1.0

_log = logging.getLogger("sessionbat.server")


class Endpoint(NamedTuple):
    """A declared operation and the function that answers it, which blocks on the store."""

    operation: Operation
    answer: Callable[[Visible, Query], Any]


def endpoints(context_keys: Sequence[str]) -> list[Endpoint]:
    """List all endpoints; these context keys become filters of the session list."""
    return [
        Endpoint(read_operations.sessions(context_keys), _sessions),
        Endpoint(read_operations.SESSION, _session),
        Endpoint(read_operations.EVENTS, _events),
        Endpoint(read_operations.SEARCH, _search),
        Endpoint(read_operations.STATISTICS, _statistics),
        Endpoint(read_operations.APPS, _apps),
    ]


def routes(store: Store) -> list[GuardedRoute]:
    """List the routes of the read API."""
    turns, of_searches = AtOnce(_AT_ONCE), AtOnce(_SEARCHES_AT_ONCE)

    def answer(each: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        if each.operation is read_operations.SEARCH:
            return on_the_beat(of_searches(_answerer(store, each)), _is_of_one_app)
        return turns(_answerer(store, each))

    return [
        GuardedRoute(each.operation.path, answer(each), need=Need.READ_ONE_APP, face=Face.JSON)
        for each in endpoints(store.context_keys)
    ]


def _is_of_one_app(request: Request) -> bool:
    return access_of(request.scope).app is not None


# Answers made at once: few enough that those of 8 MB each do not fill the memory, and that all
# kinds together find a reader of the store.
_AT_ONCE: Final = 4
# A search may take seconds of a core.
_SEARCHES_AT_ONCE: Final = 2


def _answerer(store: Store, endpoint: Endpoint) -> Callable[[Request], Response]:
    operation, answer = endpoint

    def respond(request: Request) -> Response:  # not async: it waits for the disk, in a thread
        query = Query(operation.name, operation.parameters, request.query_params.multi_items())
        visible = visible_to(request.scope, store)
        with _timed(operation.name, request):
            return Response(orjson.dumps(answer(visible, query)), media_type="application/json")

    return respond


@contextmanager
def _timed(name: str, request: Request) -> Iterator[None]:
    """Log slow queries, with the names of their parameters but never their values."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        if seconds >= _SLOW:
            asked = ", ".join(sorted(request.query_params.keys())) or "nothing"
            _log.warning(
                "%s took %.1f s, asked by %s [slow-query]",
                name,
                seconds,
                asked,
                extra={"fields": {"operation": name, "seconds": round(seconds, 3), "by": asked}},
            )


def _sessions(store: Visible, query: Query) -> Any:
    with refused_cursors():
        page = store.list_sessions(
            app=query.get(APP),
            where=session_filter(query, store.context_keys),
            sort=query.require(SORT),
            limit=query.require(read_operations.SESSIONS_LIMIT),
            after=query.get(AFTER),
        )
    return _page(page.items, page.next)


def _session(store: Visible, query: Query) -> SessionSummary:
    app, session_id = query.require(ITS_APP), query.require(SESSION_ID)
    session = store.get_session(app, session_id)
    if session is None:
        raise no_such_session(SESSION_ID.name)
    return session


def _events(store: Visible, query: Query) -> Any:
    app, session_id = query.require(ITS_APP), query.require(SESSION_ID)
    limit, after = query.require(read_operations.EVENTS_LIMIT), query.get(AFTER)
    with refused_cursors():
        page = store.list_events(app, session_id, limit=limit, after=after)
    if not page.items and store.get_session(app, session_id) is None:
        raise no_such_session(SESSION_ID.name)
    # The stored bytes go out as they came in: no digit and no key order is lost on the way.
    return _page((orjson.Fragment(item.raw) for item in page.items), page.next)


def _search(store: Visible, query: Query) -> Any:
    with refused_cursors():
        page = store.search(
            query.require(read_operations.WORDS),
            app=query.get(APP),
            limit=query.require(read_operations.SEARCH_LIMIT),
            after=query.get(AFTER),
        )
    return {**_page(page.items, page.next), "searched_in_part": page.searched_in_part}


def _statistics(store: Visible, query: Query) -> Any:
    by = query.require(read_operations.BY)
    length = _SPANS[by]
    until = query.get(read_operations.TO) or datetime.now(UTC)
    since = query.get(read_operations.FROM) or _before(until, _DEFAULT_SPANS[by] * length)
    if (until - since) / length > read_operations.MAX_SPANS:
        raise Refused(
            400,
            "too-many-spans",
            f"from and to are more than {read_operations.MAX_SPANS} {by}s apart; ask for fewer",
            at="from",
        )
    items = store.statistics(
        app=query.get(APP),
        by=by,
        since=since,
        until=until,
        group=query.get(read_operations.GROUP),
    )
    return {"items": items}


def _apps(store: Visible, query: Query) -> Any:
    return {"items": store.list_app_activity(query.get(APP))}


def _before(until: datetime, length: timedelta) -> datetime:
    return max(until - length, datetime(1970, 1, 1, tzinfo=UTC))


def _page(items: Iterable[Any], after: str | None) -> dict[str, Any]:
    return {"items": list(items), "next": after}
