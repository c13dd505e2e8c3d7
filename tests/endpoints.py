"""An ingestion endpoint that does what a test tells it to: real sockets on loopback, one thread a
connection. It notes every request and which events it has acknowledged."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import zstandard


@dataclass
class Request:
    """One request as it came, and the events that it holds."""

    number: int
    path: str
    headers: dict[str, str]
    raw: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def is_batch(self) -> bool:
        return self.content_type == "application/x-ndjson"

    @property
    def body(self) -> bytes:
        encoding = self.headers.get("content-encoding")
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(self.raw)
        return gzip.decompress(self.raw) if encoding == "gzip" else self.raw

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


@dataclass
class Answer:
    """What the endpoint answers; ``hang`` never does, ``reset`` breaks the connection instead."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    byte_delay_s: float = 0.0
    hang: bool = False
    reset: bool = False
    close: bool = False


OFFERS_BATCHES = {
    "Accept-Post": "application/json, application/x-ndjson",
    "Accept-Encoding": "zstd, gzip",
}

Behaviour = Callable[[Request], Answer]


def receipt(request: Request, rejected: list[dict[str, Any]] | None = None) -> Answer:
    """Answer as our server does."""
    rejected = rejected or []
    count = len(request.events) - len(rejected)
    body = json.dumps({"accepted": count, "duplicates": 0, "rejected": rejected})
    return Answer(202, dict(OFFERS_BATCHES), body.encode())


def single_events_only(request: Request) -> Answer:
    """Answer as an endpoint that knows nothing but one JSON object per request."""
    if request.content_type != "application/json" or "content-encoding" in request.headers:
        return Answer(400)
    return Answer(202) if isinstance(json.loads(request.raw), dict) else Answer(400)


class Endpoint:
    """A listening endpoint; ``behave`` may be replaced while it runs."""

    def __init__(self, behave: Behaviour = receipt, port: int = 0) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self.acknowledged: list[str] = []
        self.connections = 0
        self.malformed: list[Exception] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1/ingestion/events"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and break every connection."""
        if self._released.is_set() and self._listener.fileno() == -1:
            return
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.close()

    def release(self) -> None:
        """Let hanging requests go unanswered to their end."""
        self._released.set()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while (request := self._read(reader)) is not None:
                    if not self._answer(connection, request, self.behave(request)):
                        return
        except OSError:
            return
        except Exception as failure:  # a test reads it: nothing malformed may be sent
            self.malformed.append(failure)
        finally:
            with self._lock:
                self._open.discard(connection)

    def _read(self, reader: Any) -> Request | None:
        line = reader.readline()
        if not line:
            return None
        path = line.split(b" ")[1].decode()
        headers = {}
        while (header := reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        raw = reader.read(int(headers.get("content-length", 0)))
        with self._lock:
            request = Request(len(self.requests), path, headers, raw)
            self.requests.append(request)
        return request

    def _answer(self, connection: socket.socket, request: Request, answer: Answer) -> bool:
        if answer.hang:
            self._released.wait(60)
            return False
        if answer.delay_s:
            time.sleep(answer.delay_s)
        if answer.reset:
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        if 200 <= answer.status < 300:
            with self._lock:
                self.acknowledged += self._stored(request, answer)
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(answer.body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        data = head.encode() + b"\r\n" + answer.body
        if answer.byte_delay_s:
            for offset in range(len(data)):
                connection.sendall(data[offset : offset + 1])
                if self._released.wait(answer.byte_delay_s):
                    return False
        connection.sendall(data)
        return not answer.close

    def _stored(self, request: Request, answer: Answer) -> list[str]:
        try:
            rejected = {entry["id"] for entry in json.loads(answer.body)["rejected"]}
        except (ValueError, KeyError, TypeError):
            rejected = set()
        return [event_id for event_id in request.ids if event_id not in rejected]


@contextmanager
def endpoint(behave: Behaviour = receipt) -> Iterator[Endpoint]:
    """Run an endpoint for a block."""
    running = Endpoint(behave)
    try:
        yield running
    finally:
        running.close()


def unused_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
