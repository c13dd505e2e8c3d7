"""Every route says which key it needs, and is guarded so: the routes themselves are the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from sessionbat.server.access.keys import new_key
from sessionbat.server.access.routes import Face, GuardedRoute, Need, Routes
from sessionbat.server.app import create_app
from sessionbat.server.read_api import endpoints
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import open_store
from tests.server.wire import Wire

#: Which of them is let in by a route of each need. The word is the key; None: there is none.
LETS_IN: dict[Need, set[str | None]] = {
    Need.NOTHING: {None, "ingest", "read-one", "read-all", "admin", "feedback"},
    Need.FEEDBACK: {"ingest", "admin", "feedback"},
    Need.INGEST: {"ingest", "admin"},
    Need.READ_ONE_APP: {"read-one", "read-all", "admin"},
    Need.READ_EVERY_APP: {"read-all", "admin"},
    Need.ADMIN: {"admin"},
}
HOLDERS = (None, "ingest", "read-one", "read-all", "admin", "feedback")
OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE")


async def _answer(_: Request) -> Response:
    return PlainTextResponse("inside")


def _new_routes() -> list[GuardedRoute]:
    """A route of each need and face, as a later version may have them."""
    return [
        GuardedRoute(f"/new/{need.value}/{face.value}", _answer, need=need, face=face)
        for need in Need
        for face in Face
    ] + [
        GuardedRoute("/below/{path:path}", _answer, need=Need.NOTHING, face=Face.MACHINE),
        GuardedRoute("/below-admin/{path:path}", _answer, need=Need.ADMIN, face=Face.JSON),
        GuardedRoute("/below/known", _answer, need=Need.ADMIN, face=Face.JSON),
        GuardedRoute("/two", _answer, need=Need.NOTHING, face=Face.JSON),
        GuardedRoute("/two", _answer, need=Need.ADMIN, face=Face.JSON, methods=["POST"]),
        GuardedRoute("/three", _answer, need=Need.INGEST, face=Face.MACHINE, methods=None),
    ]


def _with_new_routes(more: list[Any], patch: pytest.MonkeyPatch) -> None:
    those = endpoints.routes
    patch.setattr(endpoints, "routes", lambda store: [*those(store), *more])


async def _routes_of(url: str) -> list[GuardedRoute]:
    app = create_app(Settings(store_url=url))
    async with app.router.lifespan_context(app):  # which closes the store
        return [route for route in app.routes if isinstance(route, GuardedRoute)]


@pytest.fixture(scope="module")
def there_is(tmp_path_factory: pytest.TempPathFactory) -> list[GuardedRoute]:
    """Every route of the application."""
    return asyncio.run(_routes_of(f"sqlite:///{tmp_path_factory.mktemp('routes') / 'store.db'}"))


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str | None, Wire]]:
    """A server with every route and the new ones, as the holder of each kind of key sees it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('guarded') / 'store.db'}"
    store = open_store(url)
    kinds: dict[str, Any] = {
        "ingest": ("ingest", "support-bot"),
        "read-one": ("read", "support-bot"),
        "read-all": ("read", None),
        "admin": ("admin", None),
        "feedback": ("feedback", "support-bot", ["https://shop.example.com"]),
    }
    made = {name: new_key(kind, app, "", *origins) for name, (kind, app, *origins) in kinds.items()}
    for _, stored in made.values():
        store.add_key(stored)
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        _with_new_routes(_new_routes(), patch)
        with running(Settings(port=0, store_url=url)) as base:
            wire = Wire(base)
            yield {None: wire, **{name: wire.with_key(key) for name, (key, _) in made.items()}}


def gets_in(wire: Wire, method: str, path: str) -> bool:
    """Whether a request got past the access check, whatever it was answered there."""
    answer = wire.request(method, path)
    # The form says 403 too, on a page; and logging out leads to it, with nowhere to go on to.
    is_page = "html" in answer.headers.get("content-type", "")
    is_refused = answer.status in (401, 403) and not is_page
    return not is_refused and "/login?next=" not in answer.headers.get("location", "")


@pytest.mark.parametrize("holder", HOLDERS)
def test_every_route_lets_in_whom_its_need_says_and_nobody_else(
    there_is: list[GuardedRoute], holders: dict[str | None, Wire], holder: str | None
) -> None:
    wrong = []
    for route in there_is:
        path = route.path.replace("{path:path}", "site.css")
        for method in sorted(route.methods or {"GET", "POST", "PUT", "DELETE"}):
            expected = holder in LETS_IN[route.need]
            if gets_in(holders[holder], method, path) != expected:
                wrong.append((method, path, route.need))
    assert there_is and wrong == []


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_method_that_no_route_names_needs_an_admin_key_unless_the_address_is_open(
    there_is: list[GuardedRoute], holders: dict[str | None, Wire], holder: str | None
) -> None:
    wrong = []
    for route in there_is:
        others = [each for each in OTHER_METHODS if not route.takes(each)]
        siblings = [each for each in there_is if each.path == route.path]
        need = Need.NOTHING if route.need is Need.NOTHING else Need.ADMIN
        for method in others:
            if any(each.takes(method) for each in siblings):
                continue
            path = route.path.replace("{path:path}", "site.css")
            if gets_in(holders[holder], method, path) != (holder in LETS_IN[need]):
                wrong.append((method, path))
    assert wrong == []


@pytest.mark.parametrize("face", Face)
@pytest.mark.parametrize("need", Need)
def test_a_new_route_is_guarded_as_it_says(
    holders: dict[str | None, Wire], need: Need, face: Face
) -> None:
    path = f"/new/{need.value}/{face.value}"
    inside = {name for name, wire in holders.items() if wire.get(path).body == b"inside"}
    assert inside == LETS_IN[need]


@pytest.mark.parametrize("need", [each for each in Need if each is not Need.NOTHING])
def test_only_a_new_page_leads_to_the_login(holders: dict[str | None, Wire], need: Need) -> None:
    statuses = {face: holders[None].get(f"/new/{need.value}/{face.value}").status for face in Face}
    assert statuses == {Face.PAGE: 303, Face.JSON: 401, Face.MACHINE: 401}


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/below/a/b", Need.NOTHING),
        ("GET", "/below/known", Need.NOTHING),  # the one before answers it
        ("GET", "/new/admin/json%0A", Need.ADMIN),  # which Starlette takes for the route
        ("POST", "/new/ingest/json%0A", Need.ADMIN),
        ("GET", "/new/read/json%0A", Need.READ_ONE_APP),
        ("GET", "/below", Need.READ_EVERY_APP),
        ("GET", "/below-admin/x", Need.ADMIN),
        ("HEAD", "/below-admin/x", Need.ADMIN),
        ("GET", "/two", Need.NOTHING),
        ("POST", "/two", Need.ADMIN),
        ("PUT", "/two", Need.ADMIN),
        ("GET", "/three", Need.INGEST),
        ("PUT", "/three", Need.INGEST),
        ("GET", "/of-a-later-version", Need.READ_EVERY_APP),
        ("POST", "/of-a-later-version", Need.ADMIN),
        ("GET", "/two/", Need.READ_EVERY_APP),
        ("GET", "/TWO", Need.READ_EVERY_APP),
        ("GET", "//two", Need.READ_EVERY_APP),
    ],
)
def test_an_address_without_a_route_is_denied(
    holders: dict[str | None, Wire], method: str, path: str, need: Need
) -> None:
    assert Routes(_new_routes()).need(unquote(path), method) is need
    for holder, wire in holders.items():
        assert gets_in(wire, method, path) == (holder in LETS_IN[need]), holder


def test_a_route_cannot_be_made_without_a_need_or_a_face() -> None:
    make: Callable[..., Any] = GuardedRoute
    for given in ({"face": Face.JSON}, {"need": Need.ADMIN}, {}):
        with pytest.raises(TypeError, match="required keyword-only argument"):
            make("/x", _answer, **given)


@pytest.mark.parametrize(
    "bare",
    [
        Route("/x", _answer),
        Mount("/x", routes=[GuardedRoute("/y", _answer, need=Need.ADMIN, face=Face.JSON)]),
        WebSocketRoute("/x", _answer),
        Mount("/x", app=_answer),
    ],
    ids=["route", "mount of guarded routes", "websocket", "mounted application"],
)
def test_an_application_with_a_route_that_says_no_need_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: Any
) -> None:
    _with_new_routes([bare], monkeypatch)
    with pytest.raises(TypeError, match="does not say which key it needs"):
        create_app(Settings(store_url=f"sqlite:///{tmp_path / 'store.db'}"))
    assert [each.name for each in tmp_path.iterdir()] == ["store.db"]  # closed: no WAL is left


def test_the_log_and_the_metrics_name_a_route_and_never_a_path_that_came() -> None:
    routes = Routes(_new_routes())
    assert routes.name_in_logs("/below/secret/words") == "/below"
    assert routes.name_in_logs("/two") == "/two"
    assert routes.name_in_logs("/secret") is None
