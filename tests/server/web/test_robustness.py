"""Hostile and broken clients over real sockets: each is ended or refused, others are served."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import zstandard
from prometheus_client.parser import text_string_to_metric_families

from sessionbat.server.web import connection_limits
from tests.conftest import eventually
from tests.server.wire import PATH, Wire, event

Start = Callable[..., Wire]

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()


def connect(server: Wire) -> socket.socket:
    return socket.create_connection(server.address, timeout=20)


def ask_without_reading(server: Wire, path: str) -> socket.socket:
    """Ask for something large; the system takes a few kilobytes of the answer and no more."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(server.address)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def answer(connection: socket.socket) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response


def answered(server: Wire, data: bytes) -> tuple[int, str]:
    """Send bytes; give the status and the slug of the first answer, or 0 when there is none."""
    with connect(server) as connection:
        connection.sendall(data)
        try:
            response = answer(connection)
        except (OSError, http.client.HTTPException):
            return 0, ""
        body = response.read()
    content = json.loads(body) if body else {}
    return response.status, content.get("error", {}).get("slug", "")


def is_closed(connection: socket.socket, within: float = 10) -> bool:
    """Whether the server ends a connection in so many seconds."""
    connection.settimeout(within)
    try:
        while connection.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def ended(server: Wire, slug: str) -> float:
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "sessionbat_connections_refused_total" and sample.labels["slug"] == slug
    )


# Slow ones


def test_a_head_that_does_not_end_is_given_up(start_server: Start) -> None:
    server = start_server(head_timeout=0.3)
    assert answered(server, GET[:-2]) == (408, "slow-head")


def test_a_head_that_comes_byte_by_byte_is_given_up(start_server: Start) -> None:
    server = start_server(head_timeout=0.3)
    with connect(server) as connection, pytest.raises(OSError):
        for _ in range(200):
            connection.sendall(b"G" if _ == 0 else b"E")
            time.sleep(0.02)  # slower than a head may be, byte by byte
    assert server.get("/healthz").status == 200


def test_the_second_head_of_a_connection_is_given_up_too(start_server: Start) -> None:
    server = start_server(head_timeout=0.3)
    with connect(server) as connection:
        connection.sendall(GET)
        assert answer(connection).read()
        connection.sendall(GET[:-2])
        assert answer(connection).status == 408


def test_a_connection_that_asks_nothing_is_closed(start_server: Start) -> None:
    server = start_server(head_timeout=0.3)
    with connect(server) as connection:
        assert is_closed(connection)


def test_a_body_that_nobody_asked_for_is_not_waited_for(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "LINGER", 0.3)
    server = start_server()
    with connect(server) as connection:
        connection.sendall(GET[:-2] + b"Content-Length: 1000000\r\n\r\nx")
        assert answer(connection).status == 200
        assert is_closed(connection)
    assert ended(server, "slow-body") == 1


def test_an_answer_that_nobody_reads_is_given_up(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "LOOK_EACH", 0.2)
    server = start_server()
    server.send([event(f"e{n}", observation__input="x" * 500_000) for n in range(15)])
    path = "/api/v1/events?app=support-bot&session_id=thread_1"
    with ask_without_reading(server, path):
        eventually(lambda: ended(server, "slow-reader"))
    assert ended(server, "slow-reader") == 1


def test_of_many_unread_answers_the_longest_waiting_goes(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_UNREAD_BYTES", 8_000_000)
    server = start_server()
    server.send([event(f"e{n}", observation__input="x" * 500_000) for n in range(15)])
    path = "/api/v1/events?app=support-bot&session_id=thread_1"
    readers = [ask_without_reading(server, path) for _ in range(4)]
    try:
        eventually(lambda: ended(server, "slow-reader") >= 2)
        assert len(server.request("GET", path).body) > 7_000_000  # who reads is served
    finally:
        for reader in readers:
            reader.close()


@pytest.mark.slow
def test_an_answer_that_is_read_steadily_is_given_whole(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "LOOK_EACH", 1.0)
    server = start_server()
    server.send([event(f"e{n}", observation__input="x" * 500_000) for n in range(15)])
    with connect(server) as connection:
        path = "/api/v1/events?app=support-bot&session_id=thread_1"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        response = answer(connection)
        read = 0
        while part := response.read(100_000):
            read += len(part)
            time.sleep(0.04)  # 3 s for 7.5 MB: several looks
    assert read == int(response.headers["Content-Length"]) > 7_000_000


# Many


def test_of_too_many_connections_the_longest_idle_goes(start_server: Start) -> None:
    server = start_server(max_connections=5)
    idle = [connect(server) for _ in range(5)]
    try:
        for connection in idle:
            connection.sendall(GET)
            assert answer(connection).read()
        assert server.get("/healthz").status == 200  # the sixth
        assert is_closed(idle[0])
        idle[4].sendall(GET)
        assert answer(idle[4]).status == 200
    finally:
        for connection in idle:
            connection.close()


def test_when_none_is_idle_the_new_connection_is_told_to_come_again(start_server: Start) -> None:
    server = start_server(max_connections=2)
    busy = [connect(server) for _ in range(2)]
    try:
        for connection in busy:
            connection.sendall(POST + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # its head is read
        with connect(server) as late:
            response = answer(late)
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
    finally:
        for connection in busy:
            connection.close()


# Heads


@pytest.mark.parametrize(
    "flood",
    [
        b"X-A: " + b"x" * 70_000 + b"\r\n",
        b"X-A: y\r\n" * 300,
        b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1_000) for n in range(80)),
    ],
    ids=["one long header", "many headers", "many long headers"],
)
def test_a_flood_of_headers_is_refused(standing_server: Wire, flood: bytes) -> None:
    assert answered(standing_server, GET[:-2] + flood + b"\r\n") == (431, "head-too-large")


def test_an_endless_header_is_refused_before_it_ends(standing_server: Wire) -> None:
    with connect(standing_server) as connection:
        connection.sendall(GET[:-2] + b"X-A: ")
        sent = 0
        with pytest.raises(OSError):
            while sent < 50_000_000:
                sent += connection.send(b"x" * 65_536)
    assert sent < 20_000_000  # what the sockets' buffers hold


def test_a_long_address_is_refused(standing_server: Wire) -> None:
    request = b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert answered(standing_server, request) == (431, "head-too-large")


def test_a_head_within_the_limit_is_taken(standing_server: Wire) -> None:
    assert answered(standing_server, GET[:-2] + b"X-A: " + b"x" * 60_000 + b"\r\n\r\n")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /healthz\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get lost\r\n\r\n",
        GET[:-2] + b"Content-Length: -1\r\n\r\n",
        GET[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    ],
    ids=range(10),
)
def test_data_that_is_not_http_is_refused(standing_server: Wire, request_: bytes) -> None:
    status, slug = answered(standing_server, request_)
    assert (status, slug) in ((400, "not-http"), (0, "")), (status, slug)
    assert standing_server.get("/healthz").status == 200


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_an_upgrade_is_not_made_and_the_request_answered(
    standing_server: Wire, upgrade: bytes
) -> None:
    request = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
    assert answered(standing_server, request)[0] == 200


# Old and hasty ones


def test_http_1_0_is_answered_and_closed(standing_server: Wire) -> None:
    with connect(standing_server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert answer(connection).status == 200
        assert is_closed(connection)


def test_pipelined_requests_are_answered_in_their_order(server: Wire) -> None:
    bodies = [json.dumps(event(f"e{n}")).encode() for n in range(50)]
    requests = [POST + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    with connect(server) as connection:
        connection.sendall(b"".join(requests) + GET)
        file = connection.makefile("rb")
        statuses = [read_answer(file)[0] for _ in range(51)]
    assert statuses == [202] * 50 + [200]
    assert [stored["id"] for stored in server.stored()] == [f"e{n}" for n in range(50)]


def read_answer(file: Any) -> tuple[int, bytes]:
    status = int(file.readline().split()[1])
    length = 0
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, file.read(length)


# Large and strange bodies


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_body_of_100_megabytes_is_refused_without_being_kept(server: Wire, form: str) -> None:
    part = b"x" * 1_000_000
    with connect(server) as connection:
        if form == "length":
            connection.sendall(POST + b"Content-Length: 100000000\r\n\r\n")
        else:
            connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            chunk = part if form == "length" else b"f4240\r\n" + part + b"\r\n"
            connection.sendall(chunk)
        if form == "chunked":
            connection.sendall(b"0\r\n\r\n")
        response = answer(connection)
        assert (response.status, json.loads(response.read())["error"]["slug"]) == (
            413,
            "body-too-large",
        )
        connection.sendall(GET)  # the connection is still good
        assert answer(connection).status == 200


def compressed_twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def with_large_window(data: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "compress", "slug"),
    [
        ("gzip", gzip.compress, "body-too-large"),
        ("gzip", compressed_twice, "not-json"),
        ("zstd", zstandard.compress, "body-too-large"),
        ("zstd", with_large_window, "bad-encoding"),
    ],
    ids=["gzip", "gzip in gzip", "zstd", "zstd with a window of 128 MB"],
)
def test_a_bomb_is_refused(
    standing_server: Wire, encoding: str, compress: Callable[[bytes], bytes], slug: str
) -> None:
    bomb = compress(b'[{"a":"' + b"0" * 200_000_000)
    assert len(bomb) < 1_000_000
    refused = standing_server.send(bomb, encoding=encoding)
    assert (refused.status, refused.slug) == (413 if slug == "body-too-large" else 400, slug)


WIDE = b"[" + b"{}," * 300_000 + b"{}]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inside", "slug"),
    [
        (WIDE, "too-many-values"),
        (b"[" * 300 + b"]" * 300, "too-deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not-json"),
        (b'"\xff"', "not-json"),
        (b'"\xed\xa0\x80"', "not-json"),
        (b'"\\ud800"', "not-json"),
        (b"NaN", "not-json"),
        (b"9" * 5_000, "not-json"),
        (b"1e999", "not-json"),
    ],
    ids=[
        *("wide", "deep", "absurdly deep", "bad UTF-8", "surrogate", "escaped surrogate", "NaN"),
        *("an integer beyond a double", "a number beyond a double"),
    ],
)
def test_a_strange_event_is_rejected_and_its_neighbours_stored(
    server: Wire, inside: bytes, slug: str
) -> None:
    strange = json.dumps(event("e1", observation__input=0)).encode()
    strange = strange.replace(b'"input": 0', b'"input": ' + inside)
    lines = [json.dumps(event("e0")).encode(), strange, json.dumps(event("e2")).encode()]
    for body, content_type in (
        (b"\n".join(lines), "application/x-ndjson"),
        (b"[" + b",".join(lines) + b"]", "application/json"),
    ):
        stored = server.send(body, content_type)
        assert (stored.status, [each["slug"] for each in stored.json["rejected"]]) == (202, [slug])
    assert [stored["id"] for stored in server.stored()] == ["e0", "e2"]


@pytest.mark.parametrize(
    "inside",
    [b"9" * 300, b'{"a":1,"a":2,"a":3}', b'"' + b"," * 3_000_000 + b'"'],
    ids=["a huge integer", "duplicate keys", "text of commas"],
)
def test_an_odd_but_valid_event_is_stored_as_it_is(server: Wire, inside: bytes) -> None:
    odd = json.dumps(event("e1", observation__input=0)).encode()
    odd = odd.replace(b'"input": 0', b'"input": ' + inside)
    assert server.send(odd).json == {"accepted": 1, "duplicates": 0, "rejected": []}
    page = server.get("/api/v1/events", app="support-bot", session_id="thread_1")
    assert inside in page.body
    for path in ("/session", "/session.json"):
        assert server.get(path, app="support-bot", id="thread_1").status == 200


def test_a_body_of_too_many_values_is_refused_whole(standing_server: Wire) -> None:
    body = b"[" + (b"[" + b"1," * 100_000 + b"1],") * 21 + b"{}]"
    for sent, content_type in (
        (body, "application/json"),
        (body[1:-4].replace(b"],[", b"]\n["), "application/x-ndjson"),
    ):
        refused = standing_server.send(sent, content_type)
        assert (refused.status, refused.slug) == (413, "too-many-values")


def test_half_sent_heads_keep_nobody_out(start_server: Start) -> None:
    server = start_server(max_connections=8)
    with ExitStack() as stack:
        for _ in range(12):
            half = stack.enter_context(connect(server))
            half.sendall(GET[:-2])
        for _ in range(5):
            assert server.get("/healthz").status == 200
