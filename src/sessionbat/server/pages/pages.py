"""The pages: the session list, one session, one event; each with a twin that ends in ``.json``.

A page and its twin answer the same question at the same address. Everything is rendered here, so
pages work without JavaScript; the modules in ``static/`` only add keys, a filter and copying.
Payloads are hostile: templates escape everything, and the policy sent along forbids inline code.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sessionbat.errors import StoreError
from sessionbat.server.access.answers_at_once import AtOnce
from sessionbat.server.access.login_cookie import LOGIN_DAYS
from sessionbat.server.access.permissions import access_of, logout_token_of
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.pages.view import units
from sessionbat.server.pages.view.budget import IN_FULL, ON_A_PAGE, WORDS_ONLY
from sessionbat.server.pages.view.session import Place, SessionView, present_session
from sessionbat.server.reading.times import parse_time
from sessionbat.server.records import Item, Page, SessionSummary, StoredEvent
from sessionbat.server.store.protocol import Store
from sessionbat.server.store.scoped import Visible
from sessionbat.server.web.addresses import (
    SESSION,
    SESSION_DATA,
    SESSIONS,
    SESSIONS_DATA,
    START,
    STATIC,
    addresses_of,
    route_path,
)
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.store_refusal import refusal_of

if TYPE_CHECKING:
    from jinja2 import Environment

_log = logging.getLogger("sessionbat.server")

SESSIONS_PER_PAGE: Final = 50
OBSERVATIONS_PER_PAGE: Final = 200

_LISTS_AT_ONCE: Final = 4
# Each holds 8 MB of JSON, one event decoded whole, and what is shown of all: 100 MB at worst. They
# compute, so that more at once would not be faster, and make the lists slower.
_SESSIONS_AT_ONCE: Final = 2

_HERE: Final = Path(__file__).parent


def routes(store: Store) -> list[GuardedRoute]:
    """List the routes of the pages, their twins and their static files.

    Handlers are plain functions, run in threads: each waits for the store.
    """
    pages = _Pages(store)
    lists, sessions = AtOnce(_LISTS_AT_ONCE), AtOnce(_SESSIONS_AT_ONCE)
    answering: list[tuple[str, Callable[..., Any], Face]] = [
        (START, _start, Face.PAGE),
        (SESSIONS, lists(_page(pages.sessions)), Face.PAGE),
        (SESSIONS_DATA, lists(_twin(pages.sessions_data)), Face.JSON),
        (SESSION, sessions(_page(pages.session)), Face.PAGE),
        (SESSION_DATA, sessions(_twin(pages.session_data)), Face.JSON),
    ]
    return [
        *(
            GuardedRoute(path, handler, need=Need.READ_ONE_APP, face=face)
            for path, handler, face in answering
        ),
        # Needs no login: the form is made with it.
        GuardedRoute(
            f"{STATIC}/{{path:path}}",
            _Static(directory=_HERE / "static"),
            need=Need.NOTHING,
            face=Face.MACHINE,
        ),
    ]


def _start(request: Request) -> Response:
    return RedirectResponse(addresses_of(request.scope).sessions())


def refusal_page(request: Request, refused: Refused) -> Response:
    """Say on a page why a request is not granted, to a person who came with a browser."""
    title = _TITLES.get(refused.slug, "This cannot be shown")
    text = _render("refusal.html", request, refused=refused, title=title)
    response = _html(text, refused.status)
    response.headers.update(refused.headers)
    return response


def show_trouble(app: Starlette, trouble: Callable[[], str]) -> None:
    """Have each page of an application say what is wrong with its store, if something is."""
    app.state.trouble = trouble


def login_page(
    request: Request, following: str, token: str, refused: Refused | None = None
) -> Response:
    """Show the form that takes a key.

    Args:
        request: Who asks.
        following: Where the form goes on to.
        token: What the form has to send back.
        refused: Why the last try was not granted.
    """
    text = _render(
        "login.html", request, following=following, token=token, refused=refused, days=LOGIN_DAYS
    )
    response = _html(text, 200 if refused is None else refused.status)
    response.headers.update({} if refused is None else refused.headers)
    return response


_TITLES: Final = {
    "bad-form": "That did not work",
    "bad-after": "This link continues nothing",
    "bad-limit": "Not that many",
    "missing-parameter": "Which session?",
    "no-such-event": "No such event",
    "no-such-session": "No such session",
    "not-found": "There is nothing here",
}


class _Pages:
    """Answers the pages' questions from one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sessions(self, request: Request) -> str:
        """The session list, or what to do when there is none yet."""
        app, page = self._list(request)
        apps = self._visible(request).list_apps()
        template = "sessions.html" if apps else "welcome.html"
        return _render(
            template,
            request,
            twin=_twin_address(request),
            app=app,
            apps=apps,
            sessions=page.items,
            older=_here(request, after=page.next) if page.next else None,
            newest=_here(request, after=None) if "after" in request.query_params else None,
            endpoint=addresses_of(request.scope).endpoint,
            needs_key=not access_of(request.scope).is_open,
        )

    def sessions_data(self, request: Request) -> bytes:
        """What the session list shows, as JSON."""
        app, page = self._list(request)
        return _json(
            {
                "app": app,
                "apps": self._visible(request).list_apps(),
                "next": page.next,
                "items": [asdict(summary) for summary in page.items],
            }
        )

    def session(self, request: Request) -> str:
        """One session, a page of its observations; or one of its events alone and in full."""
        summary, page = self._session(request)
        wanted = request.query_params.get("event")
        view = present_session(
            page.items, _place(request), ON_A_PAGE if wanted is None else IN_FULL
        )
        return _render(
            "session.html" if wanted is None else "event.html",
            request,
            twin=_twin_address(request),
            session=summary,
            view=view,
            here=_here(request, event=None),
            next=_continuation(request, page, view),
            first=_session_address(request, summary) if "after" in request.query_params else None,
            event_address=_event_addresses(_here(request, event=None)),
            raw_address=_event_addresses(_twin_address(request, event=None)),
        )

    def session_data(self, request: Request) -> bytes:
        """What the page of one session shows: its figures, its turns and its events as received."""
        summary, page = self._session(request)
        view = present_session(page.items, _place(request), WORDS_ONLY)
        head = {
            "session": asdict(summary),
            "next": page.next,
            "turns": [
                {
                    "number": turn.number,
                    "interaction_id": turn.interaction_id,
                    "asked": turn.asked and turn.asked.text,
                    "answered": turn.answered and turn.answered.text,
                    "status": turn.status,
                    "events": [step.observation.id for step in turn.steps],
                }
                for turn in view.turns
            ],
        }
        # Events are passed on byte for byte: a decoder between would cost time and digits.
        return b'%s,\n"items": [%s]}' % (
            _json(head).removesuffix(b"\n}"),
            b",\n".join(stored.raw for stored in page.items),
        )

    def _list(self, request: Request) -> tuple[str | None, Page[SessionSummary]]:
        app = request.query_params.get("app") or None
        limit = _limit(request, SESSIONS_PER_PAGE)
        after = _after(request)
        visible = self._visible(request)
        return app, _ask(lambda: visible.list_sessions(app=app, limit=limit, after=after))

    def _session(self, request: Request) -> tuple[SessionSummary, Page[StoredEvent]]:
        app, id_ = _required(request, "app"), _required(request, "id")
        visible = self._visible(request)
        summary = visible.get_session(app, id_)
        if summary is None:
            raise Refused(
                404,
                "no-such-session",
                "this app has no session of that id; perhaps it has not arrived yet",
                at="id",
            )
        wanted = request.query_params.get("event")
        if wanted is not None:
            return summary, _find_event(visible, summary, wanted)
        limit, after = _limit(request, OBSERVATIONS_PER_PAGE), _after(request)
        return summary, _ask(lambda: visible.list_events(app, id_, limit=limit, after=after))

    def _visible(self, request: Request) -> Visible:
        return Visible(self._store, access_of(request.scope).app)


class _Static(StaticFiles):
    """Static files that browsers ask about each time: versions must not mix."""

    def get_path(self, scope: Scope) -> str:
        """Take the path below the route; ``StaticFiles`` looks up nothing outside its directory."""
        parts: list[str] = scope["path_params"]["path"].split("/")
        return os.path.normpath(os.path.join(*parts))  # noqa: PTH118

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _page(show: Callable[[Request], str]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        try:
            return _html(show(request))
        except Refused as refused:
            return refusal_page(request, refused)
        except StoreError as exc:
            if not is_told_already(exc):
                _log.error("a page could not be shown: %s", exc)
            return refusal_page(request, refusal_of(exc, _STORE_FAILED))

    return endpoint


_STORE_FAILED: Final = "the store failed; the log of the server says why"


def _twin(answer: Callable[[Request], bytes]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        try:
            status, body = 200, answer(request)
        except Refused as refused:
            status, body = refused.status, _json(refused.content())
        return Response(body, status, media_type="application/json")

    return endpoint


def _html(text: str, status: int = 200) -> Response:
    # A lone surrogate cannot be sent; it is shown as a question mark rather than as an error.
    return Response(text.encode("utf-8", "replace"), status, media_type="text/html")


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _ask(question: Callable[[], Page[Item]]) -> Page[Item]:
    try:
        return question()
    except ValueError as exc:
        raise Refused(
            400,
            "bad-after",
            "after is not a cursor of this server; start again at the first page",
            at="after",
        ) from exc


def _find_event(visible: Visible, summary: SessionSummary, wanted: str) -> Page[StoredEvent]:
    found = visible.find_event(summary.app, summary.session_id, wanted)
    if found is None:
        raise Refused(404, "no-such-event", "this session has no event of that id", at="event")
    return Page([found], None)


def _required(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise Refused(
            400,
            "missing-parameter",
            f"{name} is missing; a session's address is /session?app=...&id=...",
            at=name,
        )
    return value


def _after(request: Request) -> str | None:
    return request.query_params.get("after") or None


def _limit(request: Request, most: int) -> int:
    text = request.query_params.get("limit", str(most))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise Refused(
            400, "bad-limit", f"limit must be a whole number from 1 to {most}", at="limit"
        )
    return int(text)


def _place(request: Request) -> Place:
    parameters = request.query_params
    if "after" not in parameters:
        return Place()
    return Place(
        _whole(parameters.get("seen")), _whole(parameters.get("turns")), parameters.get("last", "")
    )


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _continuation(request: Request, page: Page[StoredEvent], view: SessionView) -> str | None:
    if page.next is None or "event" in request.query_params:
        return None
    place = view.next_place
    return _here(
        request,
        after=page.next,
        seen=str(place.observations),
        turns=str(place.turns),
        last=place.last_turn,
    )


def _here(request: Request, **changes: str | None) -> str:
    """This very address with some parameters changed; None takes one out."""
    merged: dict[str, str | None] = {**dict(request.query_params), **changes}
    given = {name: value for name, value in merged.items() if value is not None}
    return addresses_of(request.scope).path(route_path(request.scope), given)


def _twin_address(request: Request, **changes: str | None) -> str:
    path, _, query = _here(request, **changes).partition("?")
    return f"{path}.json" + (f"?{query}" if query else "")


def _event_addresses(page: str) -> Callable[[str], str]:
    # A page has two of these for each event, so the part they share is made once.
    return lambda event_id: f"{page}&event={quote(event_id, safe='', errors='replace')}"


def _session_address(request: Request, summary: SessionSummary) -> str:
    return addresses_of(request.scope).session(summary.app, summary.session_id)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"


def _render(template: str, request: Request, **values: Any) -> str:
    now = datetime.now(UTC)
    return (
        _environment()
        .get_template(template)
        .render(
            now=now,
            addresses=addresses_of(request.scope),
            trouble=request.app.state.trouble(),
            logout_token=logout_token_of(request.scope),
            session_address=lambda summary: _session_address(request, summary),
            ago=lambda moment: units.ago(moment, now),
            **values,
        )
    )


def _lasted(summary: SessionSummary) -> str:
    if not summary.times_known:
        return ""
    first, last = parse_time(summary.first_at), parse_time(summary.last_at)
    if first is None or last is None or last <= first:
        return ""
    return units.latency((last - first).total_seconds() * 1000)


def _number_of(n: float, word: str) -> str:
    return f"{units.count(n)} {word}{'' if n == 1 else 's'}"


def _fragment(event_id: str) -> str:
    return "#" + quote(event_id, safe="", errors="replace")


@functools.cache
def _environment() -> Environment:
    # For the first page, not for the start of the server: it takes a tenth of a second to load.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        count=units.count,
        number_of=_number_of,
        latency=units.latency,
        exact=units.exact,
        clock=units.clock,
        moment=parse_time,
        lasted=_lasted,
        fragment=_fragment,
    )
    return environment
