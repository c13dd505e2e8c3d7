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
from sessionbat._delivery import notices
from sessionbat._delivery.proxies import Proxy, proxy_for
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
    eventually(lambda: "http-407" in caplog.text)
    [line] = [line for line in caplog.records if "[plain-http]" not in line.getMessage()]
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


@pytest.mark.parametrize(
    "named",
    [
        "socks5://user:s3cret@127.0.0.1:9",
        "socks5h://user:s3cret@127.0.0.1:9",
        "socks4://127.0.0.1:9",
        "ftp://user:s3cret@127.0.0.1:9",
        "s3cret://127.0.0.1:9",
        "http://user:s3cret@[127.0.0.1:9",
        "http://user:s3cret@127.0.0.1:99999",
        "http://",
        "http://127.0.0.1 :9",
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_once_and_gone_around(
    proxy: Endpoint,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    unseen_host: str,
    named: str,
) -> None:
    """Row 59: an application does not end because of a variable meant for other programs."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", named)
    for key in ("one", "two"):
        client = new_client(endpoint=f"http://{unseen_host}:{proxy.port}", api_key=key)
        record(client, 3)
        assert client.flush(10)
    assert len(proxy.acknowledged) == 6
    assert {request.path for request in proxy.requests} == {"/api/v1/ingestion/events"}
    assert caplog.text.count("[bad-proxy]") == 1
    assert "s3cret" not in caplog.text


@pytest.fixture
def unseen_host(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that is no loopback name and leads to this machine."""
    monkeypatch.setattr(notices, "_warned", set())
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: resolve(
            "127.0.0.1" if host == "ingest.example" else host, *rest, **options
        ),
    )
    return "ingest.example"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8"])
def test_loopback_never_goes_through_a_proxy(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    host: str,
) -> None:
    """Row 59: whatever the environment names; a proxy elsewhere means another machine by it."""
    for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.upper(), raising=False)
    with Endpoint(receipt) as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert proxy_for(f"http://{host}:{endpoint.port}/x") is None
        assert proxy_for(FAR) == Proxy(f"http://127.0.0.1:{proxy.port}")
        if host != "127.8.8.8":  # nobody listens there
            client = new_client(endpoint=f"http://{host}:{endpoint.port}")
            record(client, 3)
            assert client.flush(10)
            assert (len(endpoint.acknowledged), proxy.requests) == (3, [])


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("10.1.2.3", True),
        ("10.1.2.3:8787", True),
        ("10.1.2.3:1", False),
        ("10.0.0.0/8", True),
        ("other.example, 10.0.0.0/8", True),
        ("other.example 10.1.2.3", True),
        ("192.168.0.0/16", False),
        ("10.1.2.30", False),
        ("10.0.0.0/99,nonsense", False),
        ("*", True),
        ("", False),
    ],
)
def test_addresses_that_no_proxy_excepts(
    proxy: Endpoint, monkeypatch: pytest.MonkeyPatch, no_proxy: str, excepted: bool
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_for("http://10.1.2.3:8787/x") is None) == excepted


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("ingest.example", True),
        ("INGEST.example:443", True),
        ("ingest.example:8443", False),
        (".example", True),
        ("example", True),
        ("*.example", True),
        ("gest.example", False),
        ("x.ingest.example", False),
        ("*.", False),
    ],
)
def test_names_that_no_proxy_excepts(
    proxy: Endpoint, monkeypatch: pytest.MonkeyPatch, no_proxy: str, excepted: bool
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for("https://ingest.example/x") is None) == excepted


@pytest.mark.parametrize("no_proxy", ["fd00::7", "[fd00::7]", "[fd00::7]:8787", "fd00::/8"])
def test_addresses_of_ipv6_that_no_proxy_excepts(
    proxy: Endpoint, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for("http://[fd00::7]:8787/x") is None
    assert proxy_for("http://[fe00::7]:8787/x") is not None


def test_an_https_proxy_and_its_credentials(
    proxy: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "https://us%40er:p%3Ass@proxy.example:3128/path")
    found = proxy_for("https://ingest.example/x")
    assert found == Proxy("https://proxy.example:3128", "us@er:p:ss")
    assert "ss" not in repr(found)


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("http://ingest.example/x", "key", True),
        ("http://10.0.0.5:8787", "key", True),
        ("https://ingest.example/x", "key", False),
        ("http://127.0.0.1:1/x", "key", False),
        ("http://localhost:1/x", "key", False),
        ("http://[::1]:1/x", "key", False),
        ("http://127.0.0.1:1/x", None, False),
    ],
)
def test_a_key_that_goes_over_plain_http_is_said_once(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    key: str | None,
    said: bool,
) -> None:
    monkeypatch.setattr(notices, "_warned", set())
    for app in ("one", "two"):  # each has a worker of its own
        SessionBat(endpoint=url, api_key=key, app=app).close(timeout=0)
    assert caplog.text.count("[plain-http]") == said


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
