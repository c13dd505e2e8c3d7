"""Behind a real reverse proxy: nginx, below a path and with TLS."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
import trustme

from sessionbat import SessionBat
from sessionbat.testing import unused_port
from tests.conftest import eventually
from tests.server.wire import PATH, Wire, event, ndjson

pytestmark = pytest.mark.slow

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {directory}/chain.pem;
        ssl_certificate_key {directory}/key.pem;
        client_max_body_size 32m;
        location /bat/ {{
            proxy_pass http://127.0.0.1:{upstream}{stripped};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


class Proxied:
    """A server below https://localhost:PORT/bat, and a browser without JavaScript."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.base = f"https://localhost:{port}/bat"
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=trust),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def open(self, url: str, data: bytes | None = None, **headers: str) -> tuple[int, str, str]:
        """Give status, final address and body, redirects followed."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(urljoin(f"{self.base}/", url), data, sent)
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, url, error.read().decode()


@pytest.fixture(params=["/", ""], ids=["stripped", "unstripped"])
def proxied(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    start_server: Callable[..., Wire],
    make_key: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxied]:
    if NGINX is None:
        assert os.environ.get("CI") != "true", "nginx is missing: apt-get install nginx-light"
        pytest.skip("needs nginx")
    make_key("admin")
    server = start_server(root_path="/bat", trusted_proxies=("127.0.0.1",))
    authority, directory = trustme.CA(), tmp_path / "nginx"
    directory.mkdir()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(directory / "chain.pem"), append=True)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    port = unused_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            # Else its workers could not write what they buffer into a directory of root's.
            user="user root;" if os.getuid() == 0 else "",
            directory=directory,
            port=port,
            upstream=server.address[1],
            stripped=request.param,
        )
    )
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    process = subprocess.Popen(
        [NGINX, "-e", str(directory / "error.log"), "-c", str(configuration), "-p", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            proxied = Proxied(port, trust)
            eventually(lambda: process.poll() is not None or _answers(proxied))
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield proxied
        finally:
            process.terminate()


def _answers(proxied: Proxied) -> bool:
    try:
        return proxied.open("healthz")[0] == 200
    except OSError:
        return False


def record(proxied: Proxied, key: str, endpoint: str, count: int = 50) -> SessionBat:
    client = SessionBat(app="support-bot", endpoint=endpoint, api_key=key)
    turn = client.session(session_id="thread_1").interaction()
    for number in range(count):
        turn.llm(model="m", input=os.urandom(20_000).hex(), output={"text": str(number)})
    return client


def test_events_arrive_pages_and_twins_are_read_and_every_link_leads_somewhere(
    proxied: Proxied, make_key: Callable[..., str]
) -> None:
    client = record(proxied, make_key("ingest", "support-bot"), f"{proxied.base}{PATH}")
    assert client.flush(30).delivered == 50
    client.close(timeout=0)
    # The login: a page leads to the form, the form back to the page; its cookie is for here only.
    _, where, form = proxied.open("sessions?app=support-bot")
    assert urlsplit(where).path == "/bat/login"
    fields = dict(re.findall(r'name="(token|next)" value="([^"]+)"', form))
    fields["next"] = fields["next"].replace("&amp;", "&")
    body = urlencode({**fields, "key": make_key("read")}).encode()
    status, where, page = proxied.open("login", body)
    assert (status, where) == (200, f"{proxied.base}/sessions?app=support-bot")
    assert {(c.path, c.secure) for c in proxied.cookies} == {("/bat", True)}
    # Every address on the pages.
    seen: dict[str, int] = {}
    for text in (page, proxied.open("session?app=support-bot&id=thread_1")[2]):
        for found in re.findall(r'(?:href|src)="(/[^"]*)"', text):
            address = found.replace("&amp;", "&")
            seen[address] = proxied.open(f"{address}")[0]
    assert len(seen) > 50
    assert {address for address in seen if not address.startswith("/bat/")} == set()
    assert set(seen.values()) == {200}
    twin = json.loads(proxied.open("sessions.json")[2])
    assert twin["items"][0]["observations"] == 50
    assert json.loads(proxied.open("api/v1/openapi.json")[2])["servers"] == [{"url": "/bat"}]
    # Out again.
    token = re.search(
        r'action="/bat/logout"><input type="hidden" name="token" value="([^"]+)"', page
    )
    assert token is not None
    _, where, _ = proxied.open("logout", urlencode({"token": token[1]}).encode())
    assert where == f"{proxied.base}/login"


def test_a_large_compressed_body_arrives(proxied: Proxied, make_key: Callable[..., str]) -> None:
    lines = [event(f"e{n}", observation__input=os.urandom(500).hex()) for n in range(20_000)]
    body = gzip.compress(ndjson(*lines), 1)
    assert len(body) > 10_000_000
    status, _, answer = proxied.open(
        f"/bat{PATH}",
        body,
        Authorization=f"Bearer {make_key('ingest', 'support-bot')}",
        Content_Type="application/x-ndjson",
        Content_Encoding="gzip",
    )
    assert (status, json.loads(answer)["accepted"]) == (202, 20_000)


@pytest.mark.parametrize("wrong", ["/bat", "/bat/", "/bat/sessions", "", "/elsewhere", "http"])
def test_a_wrong_address_behind_the_proxy_loses_nothing(
    proxied: Proxied,
    make_key: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    wrong: str,
) -> None:
    base = proxied.base.removesuffix("/bat")
    # nginx redirects /bat to /bat/, and answers plain http at its port for TLS with a 400.
    endpoint = base.replace("https", "http") + "/bat" if wrong == "http" else base + wrong
    client = record(proxied, make_key("ingest", "support-bot"), endpoint, 20)

    def told() -> list[Any]:
        return [r.getMessage() for r in caplog.records if "[wrong-address]" in r.getMessage()]

    [line] = eventually(told)
    assert client.stats().dropped == {}
    assert (f"{proxied.base}{PATH}" in line) == wrong.startswith("/bat/")
    assert "nginx" in line
    client.close(timeout=0)
