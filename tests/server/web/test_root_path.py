"""Below a path, behind a proxy: every address that an answer names, and whom to believe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sessionbat import SessionBat
from sessionbat.errors import ConfigurationError
from sessionbat.server.app import create_app
from sessionbat.server.settings import OWN_SEGMENTS, Settings, clean_root_path
from tests.conftest import eventually
from tests.server.pages.markup import Document
from tests.server.wire import PATH, Answer, Wire, event

Start = Callable[..., Wire]


def addresses_on(answer: Answer) -> set[str]:
    """Everything that a page leads to or loads."""
    page = Document(answer.body.decode())
    found = {
        element.attributes[name]
        for tag, name in (
            ("a", "href"), ("link", "href"), ("script", "src"), ("form", "action"),
            ("section", "data-waiting"),
        )
        for element in page.all(tag)
        if name in element.attributes
    }  # fmt: skip
    return {each for each in found if not each.startswith("#")}


@pytest.fixture
def below(start_server: Start) -> Wire:
    server = start_server(root_path="/a/bat")
    assert server.send(event()).status == 202
    return server


SESSION = "/session?app=support-bot&id=thread_1"


@pytest.mark.parametrize("asked_below", ["", "/a/bat"], ids=["stripped", "unstripped"])
@pytest.mark.parametrize("path", ["/sessions", SESSION, f"{SESSION}&event=e1", "/session?app=x"])
def test_every_link_of_a_page_stays_below_the_path(
    below: Wire, path: str, asked_below: str
) -> None:
    answer = below.request("GET", asked_below + path)
    found = addresses_on(answer)
    assert len(found) > 3
    assert {each for each in found if not each.startswith("/a/bat/")} == set()
    for each in found:
        assert below.request("GET", each).status == 200, each
        assert below.request("GET", each.removeprefix("/a/bat")).status == 200, each


@pytest.mark.parametrize("path", ["/a/bat", "/a/bat/", "/"])
def test_the_top_leads_to_the_sessions_below_the_path(below: Wire, path: str) -> None:
    answer = below.get(path)
    assert (answer.status // 100, answer.headers["location"]) == (3, "/a/bat/sessions")


@pytest.mark.parametrize("path", ["/a", "/a/batman/sessions", "/a/bat/a/bat/sessions", "//a/bat"])
def test_a_path_that_only_looks_like_it_is_another(below: Wire, path: str) -> None:
    assert below.request("GET", path).status == 404


def test_the_api_and_the_document_that_describes_it(below: Wire) -> None:
    assert below.get("/a/bat/api/v1/sessions").json == below.get("/api/v1/sessions").json
    assert below.get("/a/bat/api/v1/openapi.json").json["servers"] == [{"url": "/a/bat"}]


def test_without_a_root_path_the_document_names_the_top(standing_server: Wire) -> None:
    assert standing_server.get("/api/v1/openapi.json").json["servers"] == [{"url": "/"}]


def test_requests_are_counted_by_their_route(below: Wire) -> None:
    below.get("/a/bat/sessions")
    below.get("/sessions")
    counted = re.search(
        r'sessionbat_http_requests_total\{route="/sessions",status="2xx"\} (\d+)',
        below.get("/metrics").body.decode(),
    )
    assert counted is not None and counted[1] == "2"


def test_static_files_are_cached_also_below_the_path(below: Wire) -> None:
    for path in ("/static/site.css", "/a/bat/static/site.css"):
        assert below.get(path).headers["cache-control"] == "no-cache"


def test_the_empty_page_names_the_whole_endpoint(start_server: Start) -> None:
    server = start_server(root_path="/bat")
    page = server.request("GET", "/bat/sessions", headers={"Host": "localhost:1"}).body.decode()
    assert f"http://localhost:1/bat{PATH}" in page
    assert 'data-waiting="/bat/sessions.json"' in page


def test_a_login_stays_below_the_path(start_server: Start, make_key: Callable[..., str]) -> None:
    make_key("read")
    server = start_server(root_path="/bat")
    to_form = server.get("/bat/sessions")
    assert (to_form.status, to_form.headers["location"]) == (
        303,
        "/bat/login?next=%2Fbat%2Fsessions",
    )
    assert server.get("/sessions").headers["location"] == to_form.headers["location"]
    form = server.get("/bat/login")
    assert "path=/bat;" in form.headers["set-cookie"].lower() + ";"
    assert addresses_on(form) >= {"/bat/login"}
    elsewhere = server.get("/bat/login", next="/other/app")
    assert 'name="next" value="/bat/sessions"' in elsewhere.body.decode()


@pytest.mark.parametrize("path", ["/bat", "/bat/", "/a/b.c/~d_e-f"])
def test_a_root_path_may_have_segments_and_a_slash_at_its_end(path: str) -> None:
    assert Settings(root_path=path).root_path == path.removesuffix("/")


HOSTILE = [
    "bat", "//evil.com", "/\\evil.com", "https://evil.com", '/"><script>', "/..", "/a/../b",
    "/./a", "/a//b", "/a b", "/a\r\nSet-Cookie: x", "/%2e%2e", "/ä", "/a?b", "/a#b", "/a;b",
    "/" + "a" * 300, "/sessions", "/api", "/static/x", "/login",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_an_invalid_root_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-root-path\]"):
        Settings(root_path=path)
    assert clean_root_path(path) is None


def test_the_servers_own_paths_are_known(tmp_path: Path) -> None:
    app = create_app(Settings(store_url=f"sqlite:///{tmp_path / 'store.db'}"))
    firsts = {route.path.split("/")[1] for route in app.routes}  # type: ignore[attr-defined]
    assert firsts - {""} == OWN_SEGMENTS


@pytest.mark.parametrize("address", ["", "nonsense", "10.0.0.0/99", "proxy.example", "1.2.3.4:80"])
def test_an_invalid_proxy_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-trusted-proxy\]"):
        Settings(trusted_proxies=(address,))


# Whom to believe


FORWARDED = {
    "X-Forwarded-Prefix": "/bat",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "sessions.example",
    "X-Forwarded-For": "203.0.113.9",
}


def test_headers_of_a_trusted_proxy_are_believed(
    start_server: Start, make_key: Callable[..., str]
) -> None:
    key = make_key("read")
    server = start_server(trusted_proxies=("127.0.0.0/8",), allowed_hosts=("sessions.example",))
    form = server.request("GET", "/login", headers=FORWARDED)
    assert {"secure", "path=/bat"} <= set(form.headers["set-cookie"].lower().split("; "))
    empty = server.with_key(key).request("GET", "/sessions", headers=FORWARDED).body.decode()
    assert f"https://sessions.example/bat{PATH}" in empty


def test_headers_of_anybody_else_are_ignored(
    start_server: Start, make_key: Callable[..., str]
) -> None:
    make_key("read")
    trusted = ("10.0.0.0/8", "127.0.0.2")
    server = start_server(trusted_proxies=trusted, allowed_hosts=("sessions.example",))
    form = server.request("GET", "/login", headers=FORWARDED)
    assert "/bat/" not in form.headers["set-cookie"] + "/" + form.body.decode()
    assert "sessions.example" not in form.body.decode()


def test_where_no_proxy_is_named_this_machine_may_say_the_path_and_no_more(
    start_server: Start, make_key: Callable[..., str]
) -> None:
    make_key("read")
    server = start_server(allowed_hosts=("sessions.example",))
    form = server.request("GET", "/login", headers=FORWARDED)
    assert {"secure", "path=/bat"} <= set(form.headers["set-cookie"].lower().split("; "))
    assert "sessions.example" not in form.body.decode()
    for _ in range(2):  # who asks is this machine, whatever the header says
        assert server.request("GET", "/healthz", headers=FORWARDED).status == 200


def test_so_a_page_works_behind_a_proxy_that_takes_its_path_off(start_server: Start) -> None:
    server = start_server()
    answer = server.request("GET", "/sessions", headers={"X-Forwarded-Prefix": "/tools/bat"})
    assert {each[:11] for each in addresses_on(answer)} == {"/tools/bat/"}


def test_a_host_that_a_trusted_proxy_passes_on_has_to_be_one_of_ours(start_server: Start) -> None:
    server = start_server(trusted_proxies=("127.0.0.1",))
    for host in ("evil.example", "127.0.0.1:80@evil.example", "", "localhost, evil.example"):
        answer = server.request("GET", "/healthz", headers={"X-Forwarded-Host": host})
        assert answer.status == (200 if not host else 421)
    named = {"Host": "upstream.internal", "X-Forwarded-Host": "localhost"}
    assert server.request("GET", "/healthz", headers=named).status == 200


@pytest.mark.parametrize("prefix", HOSTILE)
def test_a_hostile_prefix_is_ignored(start_server: Start, prefix: str) -> None:
    if "\r" in prefix or not prefix.isascii():
        pytest.skip("no client sends such a header")
    server = start_server(trusted_proxies=("127.0.0.1",), root_path="/own")
    answer = server.request("GET", "/sessions", headers={"X-Forwarded-Prefix": prefix})
    assert {each[:5] for each in addresses_on(answer)} == {"/own/"}


@pytest.mark.parametrize(
    ("forwarded_for", "status"),
    [
        ("127.0.0.1", 200),
        ("203.0.113.9", 403),
        ("203.0.113.9, 127.0.0.1", 403),
        ("127.0.0.1, 203.0.113.9", 403),
        ("203.0.113.9:4711", 403),
        ("[2001:db8::1]:4711", 403),
        ("unknown", 403),
        ("127.0.0.1, nonsense", 403),
        ("::1", 200),  # no proxy of ours, so it is who asked; and it is this machine
        ("", 200),
    ],
)
def test_a_server_without_keys_serves_nobody_who_comes_from_elsewhere(
    start_server: Start, forwarded_for: str, status: int
) -> None:
    server = start_server(trusted_proxies=("127.0.0.1",))
    answer = server.request("GET", "/sessions.json", headers={"X-Forwarded-For": forwarded_for})
    assert answer.status == status
    if answer.status == 403:
        assert answer.slug == "no-keys"


def test_a_proxy_on_another_machine_needs_a_key(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with pytest.raises(ConfigurationError, match=r"\[no-keys\]"):
        create_app(Settings(store_url=store, trusted_proxies=("10.0.0.5",)))


def test_wrong_keys_are_counted_by_who_sent_them(
    start_server: Start, make_key: Callable[..., str]
) -> None:
    make_key("read")
    server = start_server(trusted_proxies=("127.0.0.1",)).with_key("sbat_read_wrong")
    statuses = []
    for number in range(30):
        client = "203.0.113.9" if number % 2 else f"203.0.113.{100 + number}"
        headers = {"X-Forwarded-For": client}
        statuses.append(server.request("GET", "/api/v1/sessions", headers=headers).status)
    assert 429 in statuses[1::2]
    assert set(statuses[0::2]) == {401}


# Events at another address


@pytest.mark.parametrize("root", ["", "/bat"])
@pytest.mark.parametrize(
    "path", ["/", "/sessions", "/login", "/logout", "/healthz", "/api/v1/sessions", "/nonsense"]
)
@pytest.mark.parametrize("with_keys", [False, True])
def test_the_sdk_is_told_where_events_are_taken(
    start_server: Start,
    make_key: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    root: str,
    path: str,
    with_keys: bool,
) -> None:
    key = make_key("ingest", "support-bot") if with_keys else None
    server = start_server(root_path=root)
    base = f"http://{urlsplit(server.url).netloc}{root}"
    # A path of one slash alone stands for none, so that the ingestion path is added.
    endpoint = f"{base}//" if path == "/" and not root else f"{base}{path}"
    client = SessionBat(app="support-bot", endpoint=endpoint, api_key=key)
    client.session(session_id="s").interaction().llm(input="é" * 10_000)

    def told() -> list[Any]:
        return [r.getMessage() for r in caplog.records if r.name == "sessionbat"]

    [line] = eventually(told)
    assert f"{base}{PATH}" in line
    assert line.endswith("[wrong-address]")
    assert client.stats().dropped == {}
    client.close(timeout=0)


def test_answers_at_the_right_address_have_no_link(server: Wire) -> None:
    for body in (event(), {"bad": 1}, b"{"):
        assert "link" not in server.send(body).headers
    assert "link" not in server.get("/sessions").headers
