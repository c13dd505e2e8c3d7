"""Middleware that guards every route: checks the Host header and the key, and sets headers.

Each route declares the key that it needs (see ``routes``); the middleware enforces it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access.permissions import EVERYTHING, Guard, access_of, grant
from sessionbat.server.access.routes import Need, Routes
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.web.addresses import addresses_of, route_path
from sessionbat.server.web.host_header import Hosts
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.store_refusal import refusal_of

#: Headers of every answer: no inline code, no foreign content, no framing.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # addresses hold session ids
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_RAW_HEADERS: Final = tuple(
    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
)

_log = logging.getLogger("sessionbat.server")

# Longer addresses are not restored after a login; servers and proxies refuse long ones.
_MAX_NEXT_CHARACTERS: Final = 2000


class AccessCheck:
    """ASGI middleware that passes a permitted request on and answers any other with a refusal.

    Args:
        app: The application to guard.
        hosts: The names that the server answers to.
        guard: Finds out what a request may do.
        routes: Declare which key each route needs.
        answer: Turns a refusal into a response.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        guard: Guard,
        routes: Routes,
        answer: Callable[[Scope, Refused], Response],
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._guard = guard
        self._routes = routes
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is none; one that is added later is closed, too
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, self._with_headers(scope, send))

    def _refusal(self, scope: Scope) -> Response | None:
        """Return why a request is refused, or None after attaching its permissions to it."""
        path, method = route_path(scope), scope["method"]
        try:
            self._hosts.check(scope)
            need = self._routes.need(path, method)
            if need is not Need.NOTHING:
                access = self._guard.access(scope, by_any_header=self._routes.is_machine(path))
                need.check(access)
                grant(scope, access)
        except Refused as refused:
            if refused.slug == "no-key" and self._routes.leads_to_login(path, method):
                return _to_login(scope)
            return self._answer(scope, refused)
        except StoreError as exc:
            if not is_told_already(exc):
                _log.error("a key could not be looked up: %s", exc)
            return self._answer(scope, refusal_of(exc, "the store failed; try again"))
        return None

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_RAW_HEADERS]
                if self._misses_ingestion(scope):
                    headers.append((b"link", addresses_of(scope).ingestion_link.encode()))
                says_itself = any(name == b"cache-control" for name, _ in headers)
                if self._is_private(scope, says_itself):
                    headers = [each for each in headers if each[0] != b"cache-control"]
                    headers.append((b"cache-control", b"no-store"))
                elif not says_itself:
                    headers.append((b"cache-control", b"private, no-cache"))
                message["headers"] = headers
            await send(message)

        return send_with_headers

    def _misses_ingestion(self, scope: Scope) -> bool:
        """Whether this looks like events that were sent to the wrong address."""
        return scope["method"] == "POST" and self._routes.need(route_path(scope), "POST") not in (
            Need.INGEST,
            Need.FEEDBACK,
        )

    def _is_private(self, scope: Scope, says_itself: bool) -> bool:
        """Whether browsers must not cache this answer, because its reader may log out."""
        try:
            return access_of(scope) is not EVERYTHING
        except KeyError:
            # Refused, or open to all: of those, style sheets say how they are kept.
            return not (
                says_itself
                and self._routes.need(route_path(scope), scope["method"]) is Need.NOTHING
            )


def _to_login(scope: Scope) -> Response:
    query = scope["query_string"].decode("latin-1")
    here = quote(scope["path"]) + (f"?{query}" if query else "")
    following = here if len(here) <= _MAX_NEXT_CHARACTERS else ""
    return RedirectResponse(addresses_of(scope).login(following), 303)
