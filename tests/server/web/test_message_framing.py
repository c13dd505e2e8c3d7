"""Bodies in odd pieces, and behind heads that ask for another protocol."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.server.web.test_robustness import (
    GET,
    POST,
    answer,
    answered,
    connect,
    ended,
    is_closed,
    read_answer,
)
from tests.server.wire import Wire, event

UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "TLS": b"Connection: upgrade\r\nUpgrade: TLS/1.2\r\n",
}


def body(name: str, padding: int = 0) -> bytes:
    return json.dumps(event(name, padding="x" * padding)).encode()


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_body_behind_a_request_to_upgrade_is_stored(server: Wire, upgrade: str) -> None:
    data = body("e1")
    head = POST + UPGRADES[upgrade] + b"Content-Length: %d\r\n\r\n" % len(data)
    assert answered(server, head + data)[0] == 202
    assert [stored["id"] for stored in server.stored()] == ["e1"]


def test_it_may_come_in_chunks_and_later(server: Wire) -> None:
    data = body("e1", 100_000)
    with connect(server) as connection:
        connection.sendall(POST + UPGRADES["h2c"] + b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(data), 5000):
            piece = data[start : start + 5000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        assert answer(connection).status == 202
    assert [stored["id"] for stored in server.stored()] == ["e1"]


def test_requests_behind_it_are_answered_on_the_same_connection(server: Wire) -> None:
    data = body("e1")
    length = b"Content-Length: %d\r\n\r\n" % len(data)
    with connect(server) as connection:
        connection.sendall(
            POST + UPGRADES["h2c"] + length + data + POST + length + body("e2") + GET
        )
        file = connection.makefile("rb")
        assert [read_answer(file)[0] for _ in range(3)] == [202, 202, 200]
    assert [stored["id"] for stored in server.stored()] == ["e1", "e2"]


def test_a_body_that_ends_too_early_behind_it_is_not_stored(server: Wire) -> None:
    data = body("e1")
    head = POST + UPGRADES["h2c"] + b"Content-Length: %d\r\n\r\n" % len(data)
    with connect(server) as connection:
        connection.sendall(head + data[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert is_closed(connection)
    assert server.stored() == []


def test_tiny_chunks_end_the_connection(server: Wire) -> None:
    with connect(server) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 5000)
        assert is_closed(connection)
    assert ended(server, "tiny-chunks") == 1


@pytest.mark.parametrize("path", [b"/login", b"/nowhere", b"/sessions"])
def test_tiny_chunks_end_the_connection_even_if_nobody_reads_the_body(
    server: Wire, path: bytes
) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(head)
        connection.settimeout(20)
        with pytest.raises(OSError):
            for _ in range(10_000):
                connection.sendall(b"1\r\n \r\n" * 100)
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("size", [256, 1000, 16_384])
def test_a_body_in_chunks_of_some_length_is_stored(server: Wire, size: int) -> None:
    data = body("e1", 1_000_000)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert answered(server, request)[0] == 202


def test_a_few_small_chunks_harm_nobody(server: Wire) -> None:
    data = body("e1")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data[:400])
    rest = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data[400:]), data[400:]) if data[400:] else b"0\r\n\r\n"
    request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + rest
    assert answered(server, request)[0] == 202


def test_others_are_served_while_many_send_tiny_chunks(server: Wire) -> None:
    senders = [connect(server) for _ in range(40)]
    for sender in senders:
        sender.setblocking(False)
        sender.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 10_000)
    started = time.monotonic()
    assert server.get("/healthz").status == 200
    assert time.monotonic() - started < 5
    for sender in senders:
        sender.close()


#: HTTP/2 with prior knowledge (RFC 9113, 3.4), TLS where there is none, and a proxy's preamble.
OTHER_PROTOCOLS = {
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "TLS": bytes.fromhex("160301002f0100002b0303") + bytes(32) + b"\0\0\2\x13\x01\1\0",
    "PROXY 1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET,
    "PROXY 2": b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12) + GET,
}


@pytest.mark.parametrize("protocol", OTHER_PROTOCOLS)
def test_another_protocol_is_told_so_and_ended(server: Wire, protocol: str) -> None:
    with connect(server) as connection:
        connection.sendall(OTHER_PROTOCOLS[protocol])
        assert answer(connection).status == 400
        assert is_closed(connection)
    assert answered(server, GET)[0] == 200
