"""The door in front of every route: the right host, a key that allows it, headers on the answer.

What no rule here opens is closed. A route that a new part adds is read with a key for every app
until ``create_app`` names it among those that show a key's own app only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access.permissions import (
    EVERYTHING,
    Access,
    Guard,
    access_of,
    grant,
    not_allowed,
)
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.web.addresses import addresses_of, route_path
from sessionbat.server.web.host_header import Hosts
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.store_refusal import refusal_of

#: On every answer, whatever it is. No inline code, nothing from elsewhere, no frame around it.
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

_READING: Final = ("GET", "HEAD")
# Longer ones are forgotten by the detour over the login; servers and proxies refuse long addresses.
_MAX_NEXT_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Rules:
    """Which addresses need what; an address in none of them needs to read every app."""

    #: Need nothing.
    open: Collection[str]
    #: What is below these needs nothing either.
    open_below: tuple[str, ...]
    #: Need to write, to one app at least.
    writing: Collection[str]
    #: Need to read, one app at least, and show no other.
    reading: Collection[str]
    #: Those of them that lead a person without a login to the form.
    pages: Collection[str]


class Door:
    """Lets a request in, or answers it; an ASGI middleware.

    Args:
        app: What is behind the door.
        hosts: The server's names.
        guard: Knows the keys.
        rules: What needs which key.
        answer: Turns a refusal of a request into an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        guard: Guard,
        rules: Rules,
        answer: Callable[[Scope, Refused], Response],
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._guard = guard
        self._rules = rules
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is none; one that comes later shall not be open
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, self._with_headers(scope, send))

    def _refusal(self, scope: Scope) -> Response | None:
        """Say why a request does not get in; None when it does, and what it may do is granted."""
        path = route_path(scope)
        try:
            self._hosts.check(scope)
            if not self._is_open(path):
                grant(scope, self._admit(scope, path))
        except Refused as refused:
            if refused.slug == "no-key" and self._leads_to_login(scope, path):
                return _to_login(scope)
            return self._answer(scope, refused)
        except StoreError as exc:
            if not is_told_already(exc):
                _log.error("a key could not be looked up: %s", exc)
            return self._answer(scope, refusal_of(exc, "the store failed; try again"))
        return None

    def _is_open(self, path: str) -> bool:
        return path in self._rules.open or path.startswith(self._rules.open_below)

    def _admit(self, scope: Scope, path: str) -> Access:
        access = self._guard.access(scope)
        if path in self._rules.writing:
            if not access.may_write:
                raise not_allowed("this key reads; to write, use an ingest key of the app")
        elif scope["method"] not in _READING:
            if not access.may_do_all:
                raise not_allowed("this needs an admin key")
        elif not access.may_read:
            raise not_allowed("this key writes; to read, use a read key")
        elif path not in self._rules.reading and not access.may_read_every_app:
            raise not_allowed("this key is for one app; use a read key for every app")
        return access

    def _leads_to_login(self, scope: Scope, path: str) -> bool:
        return path in self._rules.pages and scope["method"] in _READING

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_RAW_HEADERS]
                if self._misses_ingestion(scope):
                    headers.append((b"link", addresses_of(scope).ingestion_link.encode()))
                if self._is_private(scope):
                    headers = [each for each in headers if each[0] != b"cache-control"]
                    headers.append((b"cache-control", b"no-store"))
                elif all(name != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"private, no-cache"))
                message["headers"] = headers
            await send(message)

        return send_with_headers

    def _misses_ingestion(self, scope: Scope) -> bool:
        """Whether this may be events sent to another address than that which takes them."""
        return scope["method"] == "POST" and route_path(scope) not in self._rules.writing

    def _is_private(self, scope: Scope) -> bool:
        """Whether an answer must not lie in a browser's cache after its reader has logged out."""
        if route_path(scope).startswith(self._rules.open_below):
            return False
        try:
            return access_of(scope) is not EVERYTHING
        except KeyError:
            return True


def _to_login(scope: Scope) -> Response:
    query = scope["query_string"].decode("latin-1")
    here = quote(scope["path"]) + (f"?{query}" if query else "")
    following = here if len(here) <= _MAX_NEXT_CHARACTERS else ""
    return RedirectResponse(addresses_of(scope).login(following), 303)
