"""Which web pages of other origins may send something here, and what their browsers are told.

One address takes requests across origins, and by key alone: no cookie goes along, none is read. An
origin is let in that some feedback key names; the request itself is then held to its own key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access.permissions import access_of
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.addresses import route_path
from sessionbat.server.web.refusal import Refused

#: What browsers ask before the request itself (the Fetch standard's CORS preflight).
_PREFLIGHT: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "600",
}


class CrossOrigin:
    """Lets pages of the named origins read the answers of one address; an ASGI middleware.

    Outside the access check, so that a page can also read why it was refused there.

    Args:
        app: What answers.
        store: Where the keys name their origins.
        path: The address.
    """

    def __init__(self, app: ASGIApp, *, store: Store, path: str) -> None:
        self._app = app
        self._store = store
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and route_path(scope) == self._path:
            send = self._with_headers(scope, send)
        await self._app(scope, receive, send)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        headers = [(b"vary", b"Origin")]
        origin = Headers(scope=scope).get("origin", "")
        if _is_allowed(self._store, origin):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        return send_with_headers


def preflight_route(store: Store, path: str) -> GuardedRoute:
    """Give the route at which browsers ask whether a page may send; they send no key with that."""
    return GuardedRoute(
        path, _answer_preflight(store), need=Need.NOTHING, face=Face.MACHINE, methods=("OPTIONS",)
    )


def check_origin(request: Request) -> None:
    """Let a request pass that comes from a page its key names, or from no page at all.

    Raises:
        Refused: It comes from another page (403).
    """
    origin, named = request.headers.get("origin"), access_of(request.scope).origins
    if origin is not None and named and origin not in named:
        raise _wrong_origin(origin)


def _answer_preflight(store: Store) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:  # not async: it asks the store, in a thread
        origin = request.headers.get("origin")
        if origin is not None and not _is_allowed(store, origin):
            raise _wrong_origin(origin)
        return Response(status_code=204, headers=_PREFLIGHT)

    return answer


def _is_allowed(store: Store, origin: str) -> bool:
    try:
        return bool(origin) and store.allows_origin(origin)
    except StoreError:
        return False  # and the answer itself says what is wrong with the store


def _wrong_origin(origin: str) -> Refused:
    return Refused(
        403,
        "wrong-origin",
        f"no feedback key is for pages of {origin[:200]!r}; make one with: sessionbat keys create"
        " --kind feedback --origin ORIGIN",
        at="Origin",
    )
