"""The server as an ASGI application: all routes, and the middleware around them.

Start reading the server here. ``serving`` runs it. It opens no outgoing connections.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access import login
from sessionbat.server.access.access_check import HEADERS, AccessCheck
from sessionbat.server.access.cross_origin import CrossOrigin, preflight_route
from sessionbat.server.access.login_cookie import LoginCookie
from sessionbat.server.access.opening import open_guarded_store
from sessionbat.server.access.permissions import Guard
from sessionbat.server.access.routes import Face, GuardedRoute, Need, Routes
from sessionbat.server.ingest import feedback, operation
from sessionbat.server.ingest.endpoint import Ingestion
from sessionbat.server.ingest.events import Events
from sessionbat.server.ingest.otlp import operations as otlp_operations
from sessionbat.server.ingest.otlp.protocol import Otlp
from sessionbat.server.ingest.otlp.signals import BASES, SIGNALS
from sessionbat.server.ingest.protocol import Protocol
from sessionbat.server.ingest.switching import langfuse
from sessionbat.server.ingest.switching.langsmith import INFO_PATH, LangSmith
from sessionbat.server.ops.prometheus import CONTENT_TYPE, write
from sessionbat.server.ops.retention import Retention, RetentionKeeper
from sessionbat.server.ops.server_metrics import Measures
from sessionbat.server.ops.store_watch import StoreWatch, is_told_already, trouble
from sessionbat.server.pages.login_page import login_page
from sessionbat.server.pages.page_routes import pages
from sessionbat.server.pages.rendering import refusal_page, show_trouble
from sessionbat.server.read_api import endpoints, read_operations
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import Store
from sessionbat.server.web import openapi
from sessionbat.server.web.addresses import addresses_of, route_path
from sessionbat.server.web.forwarded import Forwarded
from sessionbat.server.web.host_header import Hosts
from sessionbat.server.web.operations import Answer, Operation
from sessionbat.server.web.refusal import Refused, refusal_response
from sessionbat.server.web.request_log import CountedRequests
from sessionbat.server.web.shutdown import Stopping, stopping_refusal
from sessionbat.server.web.store_refusal import refusal_of_question

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
    """Build the application and open its store; the application's shutdown closes the store.

    Args:
        settings: The server's settings.
        stopping: Tells when to refuse new requests; without it, they are never refused.
        measures: The metrics to count in, which the caller may count in too.

    Raises:
        ConfigurationError: The store URL names no known store, a retention limit is too small, or
            the server can be reached from beyond this machine and the store has no key.
        StoreError: The store cannot be used.
    """
    retention = _retention(settings)
    store, signing_secret = open_guarded_store(settings)
    try:
        return _application(
            settings,
            store,
            LoginCookie(signing_secret),
            retention,
            stopping or Stopping(),
            measures or Measures(),
        )
    except BaseException:
        store.close()
        raise


def _application(
    settings: Settings,
    store: Store,
    cookie: LoginCookie,
    retention: Retention,
    stopping: Stopping,
    measures: Measures,
) -> Starlette:
    guard = Guard(store, cookie, may_be_open=not settings.needs_keys)
    logins = login.Login(guard, cookie, show=login_page, refuse=refusal_page)
    keeper = RetentionKeeper(store, retention)
    watch = StoreWatch(store)
    ingestion = Ingestion(store, settings, measures, stopping)

    def security(each: Operation) -> openapi.Security:
        return routes.security(each.path, each.method.upper())

    routes = Routes(
        [
            GuardedRoute(HEALTH.path, _healthz, need=Need.NOTHING, face=Face.MACHINE),
            GuardedRoute(
                METRICS.path, _metrics(store, measures), need=Need.READ_EVERY_APP, face=Face.MACHINE
            ),
            *(ingestion.route(protocol) for protocol in protocols(settings)),
            *switching_routes(settings),
            preflight_route(store, feedback.PATH),
            ingestion.route(
                feedback.FeedbackForm(),
                need=Need.FEEDBACK,
                max_body_bytes=feedback.MAX_BODY_BYTES,
            ),
            *logins.routes(),
            GuardedRoute(
                openapi.PATH,
                _openapi(operations(store, settings), security),
                need=Need.READ_ONE_APP,
                face=Face.JSON,
            ),
            *endpoints.routes(store),
            *pages(store),
        ]
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        keeper.start()
        watch.start()
        yield
        ingestion.close()
        keeper.close()
        watch.close()
        store.close()

    app = Starlette(
        routes=routes.all,
        middleware=[
            Middleware(Forwarded, settings=settings),
            Middleware(
                CountedRequests,
                name=routes.name_in_logs,
                requests=measures.requests,
                log=settings.access_log,
            ),
            Middleware(CrossOrigin, store=store, path=feedback.PATH),
            Middleware(_AnswerWhenCancelled, stopping=stopping, routes=routes),
            _access_check(guard, settings, routes),
            Middleware(_RefuseWhileStopping, stopping=stopping, routes=routes),
        ],
        exception_handlers={
            Refused: _answer_refusal,
            HTTPException: _answer_http_exception,
            StoreError: functools.partial(_answer_store_error, routes),
            Exception: _answer_failure,
        },
        lifespan=lifespan,
    )
    show_trouble(app, lambda: trouble(store))
    return app


def protocols(settings: Settings) -> list[Protocol]:
    """List every ingestion protocol."""
    otlp = [Otlp(signal, base, settings) for base in BASES for signal in SIGNALS]
    switching: list[Protocol] = [
        *LangSmith(settings).protocols(),
        langfuse.LegacyIngestion(settings),
    ]
    return [Events(settings), *otlp, *switching, langfuse.Scores(settings)]


def switching_routes(settings: Settings) -> list[GuardedRoute]:
    """List what the SDKs of LangSmith and Langfuse ask before and beside sending."""
    asked = {
        INFO_PATH: LangSmith(settings).info,
        f"{langfuse.BASE}/health": langfuse.health,
        f"{langfuse.BASE}/projects": langfuse.projects,
    }
    return [
        GuardedRoute(path, answer, need=Need.INGEST, face=Face.MACHINE)
        for path, answer in asked.items()
    ]


def operations(store: Store, settings: Settings) -> list[Operation]:
    """List every operation that programs may call, for OpenAPI; pages are not among them."""
    return [
        operation.describe(settings),
        feedback.describe(),
        *otlp_operations.describe_all(settings),
        *(endpoint.operation for endpoint in endpoints.endpoints(store.context_keys)),
        openapi.DOCUMENT,
        HEALTH,
        METRICS,
    ]


def _retention(settings: Settings) -> Retention:
    days = settings.retention_days
    max_age = None if days is None else timedelta(days=max(0.0, min(days, 36_500.0)))
    return Retention(max_age, settings.max_store_bytes)


def _access_check(guard: Guard, settings: Settings, routes: Routes) -> Middleware:
    answer = functools.partial(_refusal_in_kind, routes)
    return Middleware(AccessCheck, hosts=Hosts(settings), guard=guard, routes=routes, answer=answer)


class _RefuseWhileStopping:
    """Answers 503 to requests that arrive after shutdown has begun."""

    def __init__(self, app: ASGIApp, stopping: Stopping, routes: Routes) -> None:
        self._app = app
        self._stopping = stopping
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._stopping.has_begun:
            await _turned_away(scope, stopping_refusal(), self._routes)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _AnswerWhenCancelled:
    """Answers 503 to a request that outlives the shutdown's time limits.

    uvicorn cancels such a request; without this it would answer a plain 500 and log a traceback.
    The request's events may still be stored, so a client that sends them again does no harm.
    """

    def __init__(self, app: ASGIApp, stopping: Stopping, routes: Routes) -> None:
        self._app = app
        self._stopping = stopping
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._stopping.has_begun:
                raise
            if not has_started:
                response = _refusal_in_kind(self._routes, scope, stopping_refusal())
                response.headers.update(HEADERS)  # it is made outside the access check
                await response(scope, receive, send)


def _refusal_in_kind(routes: Routes, scope: Scope, refused: Refused) -> Response:
    """Turn a refusal by the middleware into a response: a page if a page was asked for."""
    if refused.status == 503 and routes.is_page(route_path(scope)):
        return refusal_page(Request(scope), refused)
    return _turned_away(scope, refused, routes)


def _turned_away(scope: Scope, refused: Refused, routes: Routes) -> Response:
    """Turn a refusal by the middleware into a response, with the headers of its route."""
    return routes.refuse(scope, route_path(scope), refused)


def _openapi(
    described: list[Operation], security: Callable[[Operation], openapi.Security]
) -> Callable[[Request], Awaitable[Response]]:
    # Made at the first request: most servers are never asked.
    @functools.lru_cache(maxsize=8)
    def document(root: str) -> bytes:
        schemas = {
            **read_operations.SCHEMAS,
            **operation.SCHEMAS,
            **feedback.SCHEMAS,
            **otlp_operations.SCHEMAS,
        }
        return orjson.dumps(openapi.document(described, schemas, security, root))

    async def respond(request: Request) -> Response:
        return Response(document(addresses_of(request.scope).root), media_type="application/json")

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
        advice = f"use {(exc.headers or {}).get('Allow', 'GET')}"
        if request.method == "POST":
            advice += f"; events are taken at {addresses_of(request.scope).path(operation.PATH)}"
        refused = Refused(405, "method-not-allowed", advice, headers=exc.headers)
    else:
        refused = Refused(exc.status_code, "bad-request", exc.detail, headers=exc.headers)
    return refusal_response(refused)


async def _answer_store_error(routes: Routes, request: Request, exc: Exception) -> Response:
    assert isinstance(exc, StoreError)
    if not is_told_already(exc):
        _log.error("a query could not be answered: %s", exc)
    refused = refusal_of_question(exc)
    if routes.is_page(route_path(request.scope)):
        return refusal_page(request, refused)
    return refusal_response(refused)


async def _answer_failure(_: Request, __: Exception) -> Response:
    response = refusal_response(
        Refused(500, "internal-error", "the server failed; its log says why")
    )
    response.headers.update(HEADERS)  # it is made outside the access check
    return response
