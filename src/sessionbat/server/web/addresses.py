"""Builds the server's URLs as the client of a request sees them: with root path, scheme and host.

``forwarded`` attaches an ``Addresses`` to each request. Every link, form, redirect and cookie path
is made here, so that the server works below a path of a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams
from starlette.types import Scope

INGESTION_PATH: Final = "/api/v1/ingestion/events"
FEEDBACK_PATH: Final = "/api/v1/feedback"
START: Final = "/"
SESSIONS: Final = "/sessions"
SESSIONS_DATA: Final = "/sessions.json"
SESSION: Final = "/session"
SESSION_DATA: Final = "/session.json"
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
STATIC: Final = "/static"
#: The relation in the ``Link`` header that tells the SDK this path (RFC 8288).
INGESTION_REL: Final = "https://sessionbat.com/rel/ingestion"

_SCOPE_NAME: Final = "sessionbat.addresses"
# A path of this server: one slash, then neither of those that browsers take for a host's.
_OWN_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-~]*)?")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The URLs in the answer to one request.

    ``root`` is the prefix of every path, empty or without a slash at its end;
    ``origin`` is scheme and host.
    """

    root: str = ""
    origin: str = ""

    def path(self, path: str, parameters: Mapping[str, str] | None = None) -> str:
        """Return the address of a route."""
        query = urlencode(parameters or {}, quote_via=quote, errors="replace")
        return f"{self.root}{path}" + (f"?{query}" if query else "")

    def sessions(self, app: str | None = None) -> str:
        """Return the address of the session list, of one app or of all."""
        return self.path(SESSIONS, {"app": app} if app else {})

    def sessions_data(self) -> str:
        """Return the address of the session list's twin."""
        return self.path(SESSIONS_DATA)

    def session(self, app: str, session_id: str) -> str:
        """Return the address of a session."""
        return self.path(SESSION, {"app": app, "id": session_id})

    def login(self, following: str = "") -> str:
        """Return the address of the login form, which continues to another address."""
        return self.path(LOGIN, {"next": following} if following else {})

    def logout(self) -> str:
        """Return the address to which the logout form is sent."""
        return self.path(LOGOUT)

    def static(self, name: str) -> str:
        """Return the address of a static file."""
        return self.path(f"{STATIC}/{name}")

    def is_own(self, address: str) -> bool:
        """Whether an address leads to this server in every browser's interpretation."""
        below = not self.root or address == self.root or address.startswith(f"{self.root}/")
        return below and _OWN_PATH.fullmatch(address) is not None

    @property
    def cookie_path(self) -> str:
        """The path below which browsers send this server's cookies."""
        return self.root or "/"

    @property
    def endpoint(self) -> str:
        """Return the endpoint to configure in the SDK, which adds a missing path itself."""
        return f"{self.origin}{self.path(INGESTION_PATH) if self.root else ''}"

    @property
    def ingestion_link(self) -> str:
        """Return the ``Link`` header with the address for events."""
        return f'<{self.path(INGESTION_PATH)}>; rel="{INGESTION_REL}"'


@dataclass(frozen=True, slots=True)
class Here:
    """A request's own address, to build variants with other parameters."""

    addresses: Addresses
    path: str
    parameters: Mapping[str, str]

    def changed(self, **changes: str | None) -> str:
        """Return it with some parameters changed; None removes one."""
        return self.addresses.path(self.path, self._with(changes))

    def data(self, **changes: str | None) -> str:
        """Return the address of its twin, with some parameters changed."""
        return self.addresses.path(f"{self.path}.json", self._with(changes))

    def _with(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.parameters, **changes}
        return {name: value for name, value in merged.items() if value is not None}


def here(scope: Scope) -> Here:
    """Return a request's own address."""
    return Here(addresses_of(scope), route_path(scope), dict(QueryParams(scope["query_string"])))


def event_addresses(page: str) -> Callable[[str], str]:
    """Make a function from an event's id to its address, given its session's address.

    A page has two of these for each event, so the common part is built only once.
    """
    return lambda event_id: f"{page}&event={quote(event_id, safe='', errors='replace')}"


def fragment(event_id: str) -> str:
    """Return the URL fragment of an event on its session's page."""
    return "#" + quote(event_id, safe="", errors="replace")


def addresses_of(scope: Scope) -> Addresses:
    """Return the addresses that are attached to a request."""
    found: Addresses | None = scope.get(_SCOPE_NAME)
    return found or Addresses(scope.get("root_path", ""))


def attach(scope: Scope, addresses: Addresses) -> None:
    """Attach addresses to a request."""
    scope[_SCOPE_NAME] = addresses


def route_path(scope: Scope) -> str:
    """Return a request's path without the root path, as the routes name it."""
    path: str = scope["path"]
    return path.removeprefix(addresses_of(scope).root)
