"""A real process stops under load: what was answered 202 is stored, nothing else was promised."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.server.test_durability import stored_ids
from tests.server.test_serving import free_port, served, wait_until_healthy, wire_to
from tests.server.wire import PATH, event, ndjson

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Sender(threading.Thread):
    """Sends batches over one kept connection, and notes what each was answered."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._name = name
        self.acknowledged: list[str] = []
        self.statuses: list[int] = []
        self.sent_away: list[http.client.HTTPResponse] = []
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {"Content-Type": "application/x-ndjson"}
        for batch in range(100_000):
            ids = [f"{self._name}-{batch}-{n}" for n in range(20)]
            body = ndjson(*(event(each, interaction_id=each) for each in ids))
            try:
                connection.request("POST", PATH, body, headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                return  # closed before anything was answered
            self.statuses.append(response.status)
            if response.status != 202:
                self.sent_away.append(response)
                return
            self.acknowledged += ids


@pytest.mark.slow
def test_a_stop_under_load_keeps_all_it_has_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as process:
        wait_until_healthy(wire_to(port))
        senders = [Sender(port, f"s{n}") for n in range(6)]
        eventually(lambda: all(sender.acknowledged for sender in senders))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        seconds = time.monotonic() - started
        for sender in senders:
            sender.join(20)
    acknowledged = {each for sender in senders for each in sender.acknowledged}
    assert acknowledged <= set(stored_ids(tmp_path / "store.db"))
    assert (process.returncode, "Traceback" in output) == (0, False)
    assert {status for sender in senders for status in sender.statuses} <= {202, 503}
    assert all(
        response.headers["Retry-After"] for sender in senders for response in sender.sent_away
    )
    assert seconds < 10


def begin_request(port: int, body: bytes) -> socket.socket:
    """Send a request but for its last byte."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = HEAD.format(path=PATH) + f"Content-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:-1])
    return connection


@pytest.mark.slow
def test_while_a_request_is_finished_new_ones_are_told_to_come_again(tmp_path: Path) -> None:
    port = free_port()
    wire = wire_to(port)
    body = json.dumps(event("e1", interaction_id="i1")).encode()
    with served(tmp_path, port) as process:
        wait_until_healthy(wire)
        with begin_request(port, body) as connection:
            wire.get("/healthz")  # the one before it has been taken
            process.send_signal(signal.SIGTERM)
            eventually(lambda: wire.get("/healthz").slug == "stopping")
            late = [wire.get("/healthz"), wire.send(event("e2"))]
            connection.sendall(body[-1:])
            answer = connection.makefile("rb").read()
        process.communicate(timeout=20)
    assert [(each.status, each.slug, each.headers["retry-after"]) for each in late] == [
        (503, "stopping", "1"),
        (503, "stopping", "1"),
    ]
    assert late[1].headers["accept-encoding"] == "zstd, gzip"
    assert b" 202 " in answer.partition(b"\r\n")[0]
    assert stored_ids(tmp_path / "store.db") == ["e1"]


@pytest.mark.slow
def test_a_body_that_does_not_end_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as process:
        wait_until_healthy(wire_to(port))
        with begin_request(port, json.dumps(event("e1")).encode()) as connection:
            wire_to(port).get("/healthz")
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            answer = connection.makefile("rb").read()
            process.communicate(timeout=20)
    assert time.monotonic() - started < 9  # 3 s for the body, against 30 otherwise
    assert b" 503 " in answer.partition(b"\r\n")[0]
    assert b'"stopping"' in answer
    assert stored_ids(tmp_path / "store.db") == []
