"""The server as an ASGI application: every route, and the door in front of them.

Start reading the server here. ``serving`` runs it; nothing here opens a connection to anywhere.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server import api, pages
from sessionbat.server.access import CountedRequests
from sessionbat.server.contract import asking, openapi
from sessionbat.server.contract.operations import Answer, Operation
from sessionbat.server.ingest import Ingestion, describing, refusal_response
from sessionbat.server.metrics import CONTENT_TYPE, write
from sessionbat.server.observing import Measures
from sessionbat.server.refusal import Refused
from sessionbat.server.settings import Settings, is_loopback
from sessionbat.server.stopping import Stopping, stopping_refusal
from sessionbat.server.store import Store, open_store

_log = logging.getLogger("sessionbat.server")


HEALTH: Final = Operation(
    path="/healthz",
    name="health",
    summary="Whether the server is up",
    answer=Answer("It is.", {"type": "object", "properties": {"status": {"const": "ok"}}}),
    refusals={405: ("method-not-allowed",)},
)

METRICS: Final = Operation(
    path="/metrics",
    name="metrics",
    summary="What the server counts and measures of itself, as Prometheus reads it",
    answer=Answer("Text format 0.0.4.", None, media_type="text/plain"),
    refusals={405: ("method-not-allowed",)},
)


def create_app(
    settings: Settings,
    stopping: Stopping | None = None,
    measures: Measures | None = None,
) -> Starlette:
    """Make the server, its store open; the application's shutdown closes the store.

    Args:
        settings: What to serve.
        stopping: Says when to refuse what comes; without one, that never is.
        measures: What to count in; who runs the server counts there too.

    Raises:
        ConfigurationError: The store URL names no known store.
        StoreError: The store cannot be used.
    """
    store = open_store(settings.store_url, settings.context_keys)
    stopping, measures = stopping or Stopping(), measures or Measures()
    ingestion = Ingestion(store, settings, measures, stopping)
    routes = [
        Route(HEALTH.path, _healthz, methods=["GET"]),
        Route(METRICS.path, _metrics(store, measures), methods=["GET"]),
        Route(openapi.PATH, _openapi(store, settings), methods=["GET"]),
        *ingestion.routes(),
        *api.routes(store),
        *pages.routes(store),
    ]
    counted = Middleware(
        CountedRequests,
        routes=[route.path for route in routes if isinstance(route, Route)],
        requests=measures.requests,
        log=settings.access_log,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        ingestion.close()
        store.close()

    return Starlette(
        routes=routes,
        middleware=[
            counted,
            Middleware(_RefuseWhileStopping, stopping=stopping),
            Middleware(_LoopbackHostOnly),
        ],
        exception_handlers={
            Refused: _answer_refusal,
            HTTPException: _answer_http_exception,
            StoreError: _answer_store_error,
            Exception: _answer_failure,
        },
        lifespan=lifespan,
    )


class _LoopbackHostOnly:
    """Refuses a Host header that does not name this machine.

    A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding) and would then be allowed
    to read every answer; the name it was reached by gives it away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_loopback(_host(scope)):
            refused = Refused(
                421,
                "wrong-host",
                "this server answers on loopback only; address it as 127.0.0.1, [::1] or localhost",
                at="Host",
            )
            await _turn_away(refused, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _RefuseWhileStopping:
    """Answers 503 to what arrives after the stop has begun."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._stopping.has_begun:
            await _turn_away(stopping_refusal(), scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _turn_away(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request at the door; the ingestion endpoint's own headers are on this answer too."""
    response = refusal_response(refused)
    if scope["path"] == describing.PATH:
        response.headers.update(describing.CAPABILITIES)
    await response(scope, receive, send)


def _host(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    if len(values) != 1:
        return ""
    host: str = values[0].decode("latin-1")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def operations(store: Store, settings: Settings) -> list[Operation]:
    """List every operation that programs may call; the pages are for people."""
    return [
        describing.describe(settings),
        *(endpoint.operation for endpoint in api.endpoints(store.context_keys)),
        openapi.DOCUMENT,
        HEALTH,
        METRICS,
    ]


def _openapi(store: Store, settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    # Made at the first request: most servers are never asked.
    @functools.cache
    def document() -> bytes:
        schemas = {**asking.SCHEMAS, **describing.SCHEMAS}
        return orjson.dumps(openapi.document(operations(store, settings), schemas))

    async def respond(_: Request) -> Response:
        return Response(document(), media_type="application/json")

    return respond


def _metrics(store: Store, measures: Measures) -> Callable[[Request], Response]:
    def respond(_: Request) -> Response:  # not async: it asks the store, in a thread
        return Response(write(measures.metrics(store)), headers={"Content-Type": CONTENT_TYPE})

    return respond


async def _healthz(_: Request) -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


async def _answer_refusal(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)
    return refusal_response(exc)


async def _answer_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    if exc.status_code == 404:
        refused = Refused(404, "not-found", "there is nothing at this address", at=request.url.path)
    elif exc.status_code == 405:
        refused = Refused(405, "method-not-allowed", "use GET", headers=exc.headers)
    else:
        refused = Refused(exc.status_code, "bad-request", exc.detail, headers=exc.headers)
    return refusal_response(refused)


async def _answer_store_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, StoreError)
    _log.error("a question could not be answered: %s", exc)
    message = _STORE_ADVICE.get(exc.slug, "the store failed; the log of the server says why")
    status = 501 if exc.slug == "no-search" else 503
    return refusal_response(Refused(status, exc.slug, message))


_STORE_ADVICE: Final = {
    "query-too-slow": "this takes too long; narrow it, by app or by time",
    "no-search": "this server's SQLite has no text search (FTS5)",
}


async def _answer_failure(_: Request, __: Exception) -> Response:
    return refusal_response(Refused(500, "internal-error", "the server failed; its log says why"))
