"""The read API below /api/v1: a query and a JSON shape each.

Lists answer ``{"items": [...], "next": cursor or null}`` and take ``limit`` and ``after``; what
cannot be answered is an error object with a slug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sessionbat.event import RESERVED_CONTEXT
from sessionbat.server.auth import access_of
from sessionbat.server.records import Group, SessionFilter, SessionSort, SessionSummary, Span
from sessionbat.server.refusal import Refused
from sessionbat.server.store.protocol import Store
from sessionbat.server.visible import Visible

MAX_LIMIT: Final = 1000
#: Hours or days that statistics may be asked of at once.
MAX_SPANS: Final = 1000

_SPANS: Final[dict[Span, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
#: How many of them are given when no ``from`` is named.
_DEFAULT_SPANS: Final[dict[Span, int]] = {"hour": 24, "day": 30}

_SORTS: Final[tuple[SessionSort, ...]] = ("last_activity", "duration", "cost", "errors")
_SESSIONS_PARAMETERS: Final = {
    *("app", "limit", "after", "sort", "from", "to"),
    *("error", "error_type", "kind", "model", "tag", "tool"),
    *("min_cost_usd", "max_cost_usd", "min_latency_ms", "max_latency_ms"),
    *("min_tokens", "max_tokens"),
}

_MAX_NUMBER: Final = 10**15

_Choice = TypeVar("_Choice", bound=str)


def routes(store: Store) -> list[BaseRoute]:
    """Give the routes of the read API."""
    queries: dict[str, Callable[[Visible, Request], Any]] = {
        "sessions": _sessions,
        "session": _session,
        "events": _events,
        "search": _search,
        "statistics": _statistics,
    }
    return [
        Route(f"/api/v1/{name}", _endpoint(store, query), methods=["GET"])
        for name, query in queries.items()
    ]


def _endpoint(
    store: Store, query: Callable[[Visible, Request], Any]
) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:  # not async: it waits for the disk, in a thread
        visible = Visible(store, access_of(request.scope).app)
        return Response(orjson.dumps(query(visible, request)), media_type="application/json")

    return endpoint


def _sessions(store: Visible, request: Request) -> Any:
    limit, after = _limit(request, default=50), _after(request)
    where = _session_filter(request, store.context_keys)
    sort: SessionSort = _one_of(request, "sort", _SORTS) or "last_activity"
    try:
        page = store.list_sessions(
            app=_app(request), where=where, sort=sort, limit=limit, after=after
        )
    except ValueError as exc:
        raise _bad_after() from exc
    return _page(page.items, page.next)


def _session_filter(request: Request, context_keys: Sequence[str]) -> SessionFilter:
    names = {key if key in RESERVED_CONTEXT else f"context.{key}": key for key in context_keys}
    unknown = request.query_params.keys() - names.keys() - _SESSIONS_PARAMETERS
    if unknown:
        name = min(unknown)
        raise Refused(
            400,
            "unknown-parameter",
            f"sessions cannot be asked by {name[:40]!r}; they can by"
            f" {', '.join(sorted({*names, *_SESSIONS_PARAMETERS}))}",
            at=name[:40],
        )
    given = {name: value for name, value in request.query_params.items() if value}
    error = _one_of(request, "error", ("true", "false"))
    return SessionFilter(
        context=tuple((key, given[name]) for name, key in names.items() if name in given),
        error=None if error is None else error == "true",
        since=_time(request, "from"),
        until=_time(request, "to"),
        tag=given.get("tag"),
        model=given.get("model"),
        tool=given.get("tool"),
        kind=given.get("kind"),
        error_type=given.get("error_type"),
        min_tokens=_whole(request, "min_tokens"),
        max_tokens=_whole(request, "max_tokens"),
        min_cost_usd=_number(request, "min_cost_usd"),
        max_cost_usd=_number(request, "max_cost_usd"),
        min_latency_ms=_number(request, "min_latency_ms"),
        max_latency_ms=_number(request, "max_latency_ms"),
    )


def _session(store: Visible, request: Request) -> SessionSummary:
    app, session_id = _required(request, "app"), _required(request, "session_id")
    session = store.get_session(app, session_id)
    if session is None:
        raise _no_session()
    return session


def _events(store: Visible, request: Request) -> Any:
    app, session_id = _required(request, "app"), _required(request, "session_id")
    limit, after = _limit(request, default=200), _after(request)
    try:
        page = store.list_events(app, session_id, limit=limit, after=after)
    except ValueError as exc:
        raise _bad_after() from exc
    if not page.items and store.get_session(app, session_id) is None:
        raise _no_session()
    # The stored bytes go out as they came in: no digit and no key order is lost on the way.
    return _page((orjson.Fragment(item.raw) for item in page.items), page.next)


def _search(store: Visible, request: Request) -> Any:
    query, limit, after = _required(request, "q"), _limit(request, default=20), _after(request)
    try:
        page = store.search(query, app=_app(request), limit=limit, after=after)
    except ValueError as exc:
        raise _bad_after() from exc
    return _page(page.items, page.next)


def _statistics(store: Visible, request: Request) -> Any:
    by: Span = _one_of(request, "by", ("hour", "day")) or "day"
    group: Group | None = _one_of(request, "group", ("app", "model", "tool"))
    length = _SPANS[by]
    until = _time(request, "to") or datetime.now(UTC)
    since = _time(request, "from") or until - _DEFAULT_SPANS[by] * length
    if (until - since) / length > MAX_SPANS:
        raise Refused(
            400,
            "too-many-spans",
            f"from and to are more than {MAX_SPANS} {by}s apart; ask for fewer",
            at="from",
        )
    items = store.statistics(app=_app(request), by=by, since=since, until=until, group=group)
    return {"items": items}


def _page(items: Iterable[Any], after: str | None) -> dict[str, Any]:
    return {"items": list(items), "next": after}


def _required(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise Refused(400, "missing-parameter", f"{name} is missing; add ?{name}=...", at=name)
    return value


def _app(request: Request) -> str | None:
    return request.query_params.get("app") or None


def _one_of(request: Request, name: str, choices: tuple[_Choice, ...]) -> _Choice | None:
    value = request.query_params.get(name)
    if not value:
        return None
    for choice in choices:
        if choice == value:
            return choice
    raise Refused(
        400,
        "bad-parameter",
        f"{name} must be one of {', '.join(choices)}, got {value[:40]!r}",
        at=name,
    )


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= _MAX_NUMBER:
        raise Refused(
            400,
            "bad-parameter",
            f"{name} must be a number from 0 to {_MAX_NUMBER}, got {text[:40]!r}",
            at=name,
        )
    return number


def _whole(request: Request, name: str) -> int | None:
    number = _number(request, name)
    return None if number is None else int(number)


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        # In a query string, a plus sign that nobody escaped has become a space.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as exc:
        raise _bad_time(name, text) from exc
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not 1970 <= at.year < 9999:
        raise _bad_time(name, text)
    return at


def _bad_time(name: str, text: str) -> Refused:
    return Refused(
        400,
        "bad-time",
        f"{name} must be a time as in RFC 3339, for example 2026-11-22T16:00:00Z, got"
        f" {text[:40]!r}",
        at=name,
    )


def _limit(request: Request, default: int) -> int:
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise Refused(
            400,
            "bad-limit",
            f"limit must be a whole number from 1 to {MAX_LIMIT}, got {text[:40]!r}",
            at="limit",
        )
    return int(text)


def _after(request: Request) -> str | None:
    return request.query_params.get("after") or None


def _bad_after() -> Refused:
    return Refused(
        400,
        "bad-after",
        "after is not a cursor of this server; pass what the page before gave as next",
        at="after",
    )


def _no_session() -> Refused:
    return Refused(404, "no-such-session", "there is no such session", at="session_id")
