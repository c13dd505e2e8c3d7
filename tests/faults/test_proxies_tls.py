"""Certificates that are not valid, and proxies."""

from __future__ import annotations

import base64
import datetime
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from sessionbat import SessionBat
from sessionbat.errors import ConfigurationError
from sessionbat.testing import Answer, Endpoint, Request, receipt
from tests.conftest import eventually
from tests.faults.conftest import Record

NewClient = Callable[..., SessionBat]


class SecureEndpoint(Endpoint):
    """An endpoint behind TLS."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._tls)
        super().__init__(receipt)
        self.url = self.url.replace("http://", "https://")

    def _serve(self, connection: socket.socket) -> None:
        try:
            super()._serve(self._tls.wrap_socket(connection, server_side=True))
        except OSError:  # the client did not like the certificate
            connection.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority in the way that OpenSSL knows: ``SSL_CERT_FILE``."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_ones_own_authority(
    authority: trustme.CA, new_client: NewClient, record: Record
) -> None:
    """Row 31: works when ``SSL_CERT_FILE`` names the authority."""
    with SecureEndpoint(authority.issue_cert("127.0.0.1")) as endpoint:
        client = new_client(endpoint=endpoint.url)
        ids = record(client, 20)
        assert client.flush(10)
        assert sorted(endpoint.acknowledged) == sorted(ids)


@pytest.mark.parametrize("fault", ["expired", "wrong-host", "self-signed"])
@pytest.mark.usefixtures("trusted")
def test_a_certificate_that_is_not_valid(
    authority: trustme.CA,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Row 31: nothing is sent, events are kept, and one error line says why."""
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    issuer = trustme.CA() if fault == "self-signed" else authority
    host = "elsewhere.example" if fault == "wrong-host" else "127.0.0.1"
    certificate = issuer.issue_cert(host, not_after=past if fault == "expired" else None)
    with SecureEndpoint(certificate) as endpoint:
        client = new_client(endpoint=endpoint.url, api_key="sbat_ingest_key")
        record(client, 20)
        eventually(lambda: client.stats().spooled == 20)
        eventually(lambda: caplog.records)
        assert endpoint.requests == []
    [line] = caplog.records
    assert (line.levelno, "tls-certificate" in line.getMessage()) == (logging.ERROR, True)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """A proxy that the environment names; it delivers by itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Endpoint(receipt) as running:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{running.port}")
        yield running


FAR = "http://ingest.example/api/v1/ingestion/events"


def test_a_proxy_of_the_environment(proxy: Endpoint, new_client: NewClient, record: Record) -> None:
    """Row 59: asked for the whole address; no name is resolved here."""
    client = new_client(endpoint=FAR, api_key="key")
    ids = record(client, 20)
    assert client.flush(10)
    assert sorted(proxy.acknowledged) == sorted(ids)
    assert {request.path for request in proxy.requests} == {FAR}


def test_a_host_that_no_proxy_excepts(
    proxy: Endpoint,
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 59: ``NO_PROXY``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,other.example")
    client = new_client()
    record(client, 3)
    assert client.flush(10)
    assert (len(endpoint.acknowledged), proxy.requests) == (3, [])


@pytest.mark.parametrize("name", ["user:p%40ss", "user"])
def test_a_proxy_that_wants_a_name_and_a_password(
    proxy: Endpoint,
    new_client: NewClient,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Row 59: those of the proxy's address, decoded."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{name}@127.0.0.1:{proxy.port}")
    client = new_client(endpoint=FAR, api_key="key")
    record(client, 1)
    assert client.flush(10)
    credentials = proxy.requests[0].headers["proxy-authorization"].removeprefix("Basic ")
    expected = b"user:p@ss" if ":" in name else b"user:"
    assert base64.b64decode(credentials) == expected


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_answers_407(
    proxy: Endpoint,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
) -> None:
    """Row 59: as 401: sending stops, events are kept, one error line."""
    proxy.behave = lambda request: Answer(407, {"Proxy-Authenticate": "Basic"})
    client = new_client(endpoint=FAR.replace("http", scheme), api_key="sbat_ingest_key")
    record(client, 20)
    eventually(lambda: client.stats().spooled == 20)
    eventually(lambda: caplog.records)
    [line] = caplog.records
    assert (line.levelno, "http-407" in line.getMessage()) == (logging.ERROR, True)
    if scheme == "https":  # the key is for the endpoint alone
        assert all("authorization" not in request.headers for request in proxy.requests)


def test_a_proxy_named_without_a_scheme(
    proxy: Endpoint, new_client: NewClient, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 59: taken for an http proxy, as everywhere."""
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    client = new_client(endpoint=FAR, api_key="key")
    record(client, 1)
    assert client.flush(10)


def test_a_proxy_of_a_kind_that_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 59: said at construction, with what to do."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match=r"NO_PROXY.*\[bad-proxy\]"):
        SessionBat(endpoint=FAR, api_key="key")


def test_requests_through_a_proxy_are_ordinary(
    proxy: Endpoint, new_client: NewClient, record: Record
) -> None:
    """Row 59: refusals come back through it as from the endpoint."""

    def refuse(request: Request) -> Answer:
        return Answer(422) if b"bad" in request.body else receipt(request)

    proxy.behave = refuse
    client = new_client(endpoint=FAR, api_key="key")
    record(client, 10)
    record(client, 1, "bad")
    assert not client.flush(10)
    assert client.stats().dropped == {"refused:http-422": 1}
