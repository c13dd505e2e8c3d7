"""Middleware that counts each request, and logs it if enabled.

Requests are named by their route and never by the received path: a query string holds search terms,
and a path may hold anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessionbat.server.ops.prometheus import Counter
from sessionbat.server.web.addresses import route_path

_log = logging.getLogger("sessionbat.server.web.request_log")

_OTHER = "other"


class CountedRequests:
    """ASGI middleware that counts requests by route and class of status.

    Args:
        app: The application to call.
        name: Returns the name of a path's route; None without a route.
        requests: The counter.
        log: Whether to log a line for each request.
    """

    def __init__(
        self, app: ASGIApp, name: Callable[[str], str | None], requests: Counter, log: bool
    ) -> None:
        self._app = app
        self._name = name
        self._requests = requests
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500  # of what raises, the answer is made outside

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route = self._name(route_path(scope)) or _OTHER
            self._requests.add(1, route, f"{status // 100}xx")
            if self._log:
                _log_request(scope["method"], route, status, time.perf_counter() - started)


def _log_request(method: str, route: str, status: int, seconds: float) -> None:
    milliseconds = round(seconds * 1000, 1)
    _log.info(
        "%s %s %d in %.1f ms [request]",
        method,
        route,
        status,
        milliseconds,
        extra={"fields": {"method": method, "route": route, "status": status, "ms": milliseconds}},
    )
