"""Where a server may listen, and by which names it may be addressed."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import ConfigurationError
from sessionbat.server.app import create_app
from sessionbat.server.settings import Settings
from tests.server.wire import PATH, Wire


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_may_be_listened_on(host: str) -> None:
    assert Settings(host=host).host == host


def test_an_address_of_ipv6_may_stand_in_brackets() -> None:
    settings = Settings(host="[::1]", allowed_hosts=("[fd00::7]",))
    assert (settings.host, settings.allowed_hosts) == ("::1", ("fd00::7",))


@pytest.mark.parametrize(
    "host",
    ["", " ", "http://localhost", "localhost:8787", "*", "a b", "[127.0.0.1]", "[a]", "[::1", "[]"],
)
def test_an_invalid_host_is_refused(host: str) -> None:
    for settings in ({"host": host}, {"allowed_hosts": ("ok.example", host)}):
        with pytest.raises(ConfigurationError, match=r"\[bad-host\]"):
            Settings(**settings)  # type: ignore[arg-type]


ELSEWHERE: list[dict[str, Any]] = [
    {"host": "0.0.0.0"},
    {"host": "::"},
    {"host": "192.168.1.7"},
    {"host": "localhost.x"},
    {"allowed_hosts": ("sessions.example",)},
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_without_a_key_nobody_but_this_machine_is_served(
    tmp_path: Path, elsewhere: dict[str, Any]
) -> None:
    settings = Settings(port=0, store_url=f"sqlite:///{tmp_path / 'store.db'}", **elsewhere)
    with pytest.raises(ConfigurationError, match=r"sessionbat keys create .*\[no-keys\]"):
        create_app(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_keys_are_all_revoked_does_not_serve_others(
    tmp_path: Path, make_key: Callable[..., str], revoke_key: Callable[[str], None]
) -> None:
    key = make_key("admin")
    settings = Settings(host="0.0.0.0", store_url=f"sqlite:///{tmp_path / 'store.db'}")
    revoke_key(key)
    with pytest.raises(ConfigurationError, match=r"\[no-keys\]"):
        create_app(settings)
    assert [each.name for each in tmp_path.iterdir()] == ["store.db"]  # closed: no WAL is left


def test_with_a_key_any_address_may_be_listened_on(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    key = make_key("admin")
    server = start_server(host="0.0.0.0")
    reached = Wire(f"http://127.0.0.1:{server.address[1]}")
    assert reached.get("/api/v1/sessions").status == 401
    assert reached.with_key(key).get("/api/v1/sessions").status == 200


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_invalid_port_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match=r"\[bad-port\]"):
        Settings(port=port)


def _status(server: Wire, path: str, *hosts: str) -> int:
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8787", "127.0.0.1:1", "[::1]:8787"])
def test_a_request_that_names_this_machine_is_answered(standing_server: Wire, host: str) -> None:
    assert _status(standing_server, "/healthz", host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.168.1.7",
        "",
        "[",
        "127.0.0.1:80@evil.example",
        "localhost@evil.example",
        "localhost:http",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:1:2",
        "localhost/evil.example",
        "[::1]evil.example",
        "[::1]:80@evil.example",
        "[localhost]",
        "::1",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", PATH, "/api/v1/sessions", "/sessions"])
def test_a_request_that_names_another_machine_is_refused(
    standing_server: Wire, path: str, host: str
) -> None:
    assert _status(standing_server, path, host) == 421


def test_a_name_that_is_allowed_is_answered_and_no_other(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    make_key("admin")
    server = start_server(allowed_hosts=("Sessions.example", "other.example"))
    for host in ("sessions.example", "SESSIONS.example:443", "other.example", "localhost"):
        assert _status(server, "/healthz", host) == 200
    for host in ("evil.example", "x.sessions.example", "sessions.example.evil", "192.168.1.7"):
        assert _status(server, "/healthz", host) == 421


def test_a_server_for_others_answers_to_addresses_but_to_no_name(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    make_key("admin")
    server = Wire(f"http://127.0.0.1:{start_server(host='0.0.0.0').address[1]}")
    for host in ("192.168.1.7:8787", "[2001:db8::1]:8787", "10.0.0.1", "localhost"):
        assert _status(server, "/healthz", host) == 200
    for host in ("evil.example", "192.168.1.7.nip.io", "", "0x7f.1"):
        assert _status(server, "/healthz", host) == 421


def test_a_request_with_two_names_is_refused(standing_server: Wire) -> None:
    assert _status(standing_server, "/healthz", "localhost", "evil.example") in (400, 421)


def test_a_websocket_is_closed_before_it_reaches_the_application(tmp_path: Path) -> None:
    app = create_app(Settings(store_url=f"sqlite:///{tmp_path / 'store.db'}"))
    sent: list[dict[str, Any]] = []

    async def connect() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        headers = [(b"host", b"localhost")]
        scope = {"type": "websocket", "path": "/sessions", "headers": headers, "subprotocols": []}
        async with app.router.lifespan_context(app):  # which closes the store
            await app(scope, receive, send)

    asyncio.run(connect())
    assert sent == [{"type": "websocket.close", "code": 1008}]
