"""Who is let in: listeners on loopback only, and requests that name this machine."""

from __future__ import annotations

import http.client

import pytest
from wire import PATH, Wire

from sessionbat.errors import ConfigurationError
from sessionbat.server.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_may_be_listened_on(host: str) -> None:
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "", "example.com", "localhost.x"])
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[not-loopback\]"):
        Settings(host=host)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
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
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.1.7", "", "["]
)
@pytest.mark.parametrize("path", ["/healthz", PATH, "/api/v1/sessions", "/sessions"])
def test_a_request_that_names_another_machine_is_refused(
    standing_server: Wire, path: str, host: str
) -> None:
    assert _status(standing_server, path, host) == 421


def test_a_request_with_two_names_is_refused(standing_server: Wire) -> None:
    assert _status(standing_server, "/healthz", "localhost", "evil.example") in (400, 421)
