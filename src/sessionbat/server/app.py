"""The server as an ASGI application: every route, and the door in front of them.

Start reading the server here. ``serving`` runs it; nothing here opens a connection to anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server import api, login, pages
from sessionbat.server.auth import Guard
from sessionbat.server.door import HEADERS, Door, Rules
from sessionbat.server.hosts import Hosts
from sessionbat.server.ingest import PATH, Ingestion, refusal_response
from sessionbat.server.login_cookie import LoginCookie
from sessionbat.server.refusal import Refused
from sessionbat.server.retention import Retention, RetentionKeeper
from sessionbat.server.settings import Settings, is_loopback
from sessionbat.server.store import Store, open_store, store_exists

_log = logging.getLogger("sessionbat.server")


def create_app(settings: Settings) -> Starlette:
    """Make the server, its store open; the application's shutdown closes the store.

    Raises:
        ConfigurationError: The store URL names no known store, retention cannot be meant, or the
            store has no key although others than this machine's users are to reach it.
        StoreError: The store cannot be used.
    """
    retention = _retention(settings)
    store, signing_secret = _open_guarded_store(settings)
    cookie = LoginCookie(signing_secret)
    guard = Guard(store, cookie, may_be_open=not settings.needs_keys)
    logins = login.Login(guard, cookie, show=pages.login_page, refuse=pages.refusal_page)
    keeper = RetentionKeeper(store, retention)
    ingestion = Ingestion(store, settings)
    reading = [*api.routes(store), *pages.routes(store)]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        keeper.start()
        yield
        ingestion.close()
        keeper.close()
        store.close()

    return Starlette(
        routes=[
            Route("/healthz", _healthz, methods=["GET"]),
            *ingestion.routes(),
            *logins.routes(),
            *reading,
        ],
        middleware=[_door(guard, settings, reading)],
        exception_handlers={
            Refused: _answer_refusal,
            HTTPException: _answer_http_exception,
            StoreError: _answer_store_error,
            Exception: _answer_failure,
        },
        lifespan=lifespan,
    )


def _retention(settings: Settings) -> Retention:
    days = settings.retention_days
    max_age = None if days is None else timedelta(days=max(0.0, min(days, 36_500.0)))
    return Retention(max_age, settings.max_store_bytes)


def _door(guard: Guard, settings: Settings, reading: Sequence[BaseRoute]) -> Middleware:
    paths = {route.path for route in reading if isinstance(route, Route)}
    rules = Rules(
        open={"/healthz", *login.PATHS},
        open_below=(pages.STATIC,),
        writing={PATH},
        reading=paths,
        pages={path for path in paths if not path.startswith("/api/") and "." not in path},
    )
    return Middleware(
        Door, hosts=Hosts(settings), guard=guard, rules=rules, answer=refusal_response
    )


def _open_guarded_store(settings: Settings) -> tuple[Store, bytes]:
    """Open the store, and give its secret; without a key, others must not be able to reach it.

    What is refused is left as it was: not there, or closed.
    """
    if settings.needs_keys and not store_exists(settings.store_url):
        raise _no_keys(settings)
    store = open_store(settings.store_url, settings.context_keys)
    try:
        if settings.needs_keys and all(key.revoked_at for key in store.list_keys()):
            raise _no_keys(settings)
        return store, store.signing_secret()
    except BaseException:
        store.close()
        raise


def _no_keys(settings: Settings) -> ConfigurationError:
    others = [host for host in (settings.host, *settings.allowed_hosts) if not is_loopback(host)]
    return ConfigurationError(
        f"host {others[0]!r} is not on loopback, and {settings.store_url} has no key to guard it;"
        " make one first: sessionbat keys create --kind admin --store"
        f" {settings.store_url} (or serve on 127.0.0.1)",
        slug="no-keys",
    )


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
    response = refusal_response(
        Refused(500, "internal-error", "the server failed; its log says why")
    )
    response.headers.update(HEADERS)  # it is made outside the door
    return response
