"""Route declarations: path, methods, the key that a route needs, and whom it serves.

The guarding middleware, the redirect to the login, the request log and OpenAPI's ``security`` all
read them. Deny by default: an address without a route needs a key that reads every app, and a
method that no route of an address declares needs an admin key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from sessionbat.server.access.permissions import Access, feedback_only, not_allowed
from sessionbat.server.web.refusal import Refused, refusal_response

_READING: Final = ("GET", "HEAD")


class Need(Enum):
    """The kind of key that a route needs."""

    NOTHING = "nothing"
    INGEST = "ingest"
    #: A feedback or an ingest key.
    FEEDBACK = "feedback"
    #: Any key that can read; the route shows a key of one app only that app.
    READ_ONE_APP = "read"
    READ_EVERY_APP = "read-every-app"
    ADMIN = "admin"

    def check(self, access: Access) -> None:
        """Check that a request has this permission.

        Raises:
            Refused: The key does not permit it (403).
        """
        if self is not Need.NOTHING and self is not Need.FEEDBACK and access.is_for_feedback_only:
            raise feedback_only()
        if self is Need.FEEDBACK:
            if not access.may_send_feedback:
                raise not_allowed("this key reads; to send feedback, use a feedback key of the app")
        elif self is Need.INGEST:
            if not access.may_write:
                raise not_allowed("this key reads; to write, use an ingest key of the app")
        elif self is Need.ADMIN:
            if not access.may_do_all:
                raise not_allowed("this needs an admin key")
        elif self is not Need.NOTHING:
            if not access.may_read:
                raise not_allowed("this key writes; to read, use a read key")
            if self is Need.READ_EVERY_APP and not access.may_read_every_app:
                raise not_allowed("this key is for one app; use a read key for every app")


class Face(Enum):
    """Whom a route serves, people or programs; decides how a refusal looks."""

    #: A person with a browser: sent to the login when there is no key, refused on a page.
    PAGE = "page"
    #: A program that reads JSON.
    JSON = "json"
    #: A program with a protocol of its own: an SDK, a monitor, a browser fetching a style sheet.
    MACHINE = "machine"


class GuardedRoute(Route):
    """A route with its access rules; the application accepts no other kind.

    Args:
        path: The address; ``{name:path}`` stands for everything below.
        handler: A function of the request, or an ASGI application.
        need: The kind of key that it needs.
        face: Whom it serves.
        methods: The methods it takes; None takes all, and the handler itself refuses some.
        headers: Set on every answer, refusals by the middleware included.
        refuse: Writes its refusals, those by the middleware included; None writes the usual JSON.
    """

    def __init__(
        self,
        path: str,
        handler: Callable[..., Any],
        *,
        need: Need,
        face: Face,
        methods: Sequence[str] | None = ("GET",),
        headers: Mapping[str, str] | None = None,
        refuse: Callable[[Request, Refused], Response] | None = None,
    ) -> None:
        super().__init__(path, handler, methods=None if methods is None else list(methods))
        if methods is None:
            self.methods = None  # of a function, Starlette would make GET alone
        self.need = need
        self.face = face
        self.headers = dict(headers or {})
        self.refuse = refuse

    @property
    def name_in_logs(self) -> str:
        """Its path without parameters, for logs; never a path that a request sent."""
        return self.path.partition("/{")[0]

    def takes(self, method: str) -> bool:
        """Whether it takes this method."""
        return self.methods is None or method in self.methods


class Routes:
    """All routes of an application; finds the access rules for any request.

    Args:
        routes: Every route.

    Raises:
        TypeError: A route does not declare what it needs.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self.all: list[GuardedRoute] = []
        for route in routes:
            if not isinstance(route, GuardedRoute):
                raise TypeError(
                    f"{route!r} does not say which key it needs; make it a GuardedRoute"
                )
            self.all.append(route)
        # Those of an address in their order, as Starlette finds them.
        self._at_known: dict[str, list[GuardedRoute]] = {}
        self._at_known = {route.path: self._at(route.path) for route in self.all}

    def need(self, path: str, method: str) -> Need:
        """Return the kind of key that a request needs, whether or not a route exists for it."""
        there = self._at(path)
        for route in there:
            if route.takes(method):
                return route.need
        if there and all(route.need is Need.NOTHING for route in there):
            return Need.NOTHING
        return Need.READ_EVERY_APP if method in _READING else Need.ADMIN

    def is_page(self, path: str) -> bool:
        """Whether an address is a page for people."""
        return any(route.face is Face.PAGE for route in self._at(path))

    def leads_to_login(self, path: str, method: str) -> bool:
        """Whether a visitor without a key is sent to the login and back afterwards."""
        return method in _READING and self.is_page(path)

    def headers(self, path: str) -> dict[str, str]:
        """Return the headers that every answer of an address has."""
        return {name: value for route in self._at(path) for name, value in route.headers.items()}

    def refuse(self, scope: Scope, path: str, refused: Refused) -> Response:
        """Write a refusal as the route of an address does, with its headers."""
        own = next((route.refuse for route in self._at(path) if route.refuse), None)
        response = refusal_response(refused) if own is None else own(Request(scope), refused)
        response.headers.update(self.headers(path))
        return response

    def is_machine(self, path: str) -> bool:
        """Whether an address is for programs with a protocol of their own."""
        return any(route.face is Face.MACHINE for route in self._at(path))

    def name_in_logs(self, path: str) -> str | None:
        """Return the name of an address's route for log and metrics; None without a route."""
        return next((route.name_in_logs for route in self._at(path)), None)

    def security(self, path: str, method: str) -> list[dict[str, list[str]]]:
        """Describe a need for OpenAPI; ``{}`` because a server without keys is open."""
        need = self.need(path, method)
        return [] if need is Need.NOTHING else [{"key": [need.value]}, {}]

    def _at(self, path: str) -> list[GuardedRoute]:
        found = self._at_known.get(path)
        if found is None:
            # By the very expression that Starlette goes by: to it, "/x\n" is "/x".
            found = [route for route in self.all if route.path_regex.match(path)]
        return found
