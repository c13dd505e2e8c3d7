"""An ingestion endpoint that does what a test tells it to, on real sockets of this machine.

Published by ``testing``; the SDK's own suite runs against it. It notes every request, and which
events it has acknowledged. One thread a connection; standard library only, and zstd where it is.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, TypeAlias

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

#: What an endpoint says to be sent batches, and compressed ones.
OFFERS_BATCHES: Final = {
    "Accept-Post": "application/json, application/x-ndjson",
    "Accept-Encoding": "gzip" if zstandard is None else "zstd, gzip",
}


@dataclass
class Request:
    """One request as it came, and the events that it holds."""

    #: Which it was since the endpoint began, from 0.
    number: int
    path: str
    #: With names in lower case.
    headers: dict[str, str]
    #: The body as it came, perhaps compressed.
    raw: bytes
    #: When it had arrived, in seconds of ``time.monotonic``.
    at: float = field(default_factory=time.monotonic)

    @property
    def content_type(self) -> str:
        """The header of that name; empty when there was none."""
        return self.headers.get("content-type", "")

    @property
    def is_batch(self) -> bool:
        """Whether the body is NDJSON, one event a line."""
        return self.content_type == "application/x-ndjson"

    @property
    def body(self) -> bytes:
        """The body after decompression."""
        encoding = self.headers.get("content-encoding")
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(self.raw)
        return gzip.decompress(self.raw) if encoding == "gzip" else self.raw

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the body, decoded."""
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def ids(self) -> list[str]:
        """The ids of the events, in order."""
        return [event["id"] for event in self.events]


@dataclass
class Answer:
    """What the endpoint answers a request with, and how badly."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Wait before the answer.
    delay_s: float = 0.0
    #: Wait after each byte of it.
    byte_delay_s: float = 0.0
    #: Never answer, until ``release`` or ``close``.
    hang: bool = False
    #: Break the connection instead.
    reset: bool = False
    #: End the connection after the answer without having announced it.
    close: bool = False


#: Decides what a request is answered with. Called from many threads.
Behaviour: TypeAlias = Callable[[Request], Answer]


def receipt(request: Request, rejected: list[dict[str, Any]] | None = None) -> Answer:
    """Answer as a SessionBat server does: batches are welcome, and this became of each event.

    Args:
        request: What is answered.
        rejected: What was not taken of it: ``{"id", "slug"}`` each.
    """
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
    """An endpoint that listens on loopback from its construction until ``close``.

    Args:
        behave: What it answers; may be replaced while it runs.
        port: Where to listen; 0 takes a free port.
    """

    def __init__(self, behave: Behaviour = receipt, port: int = 0) -> None:
        self.behave = behave
        #: Every request so far, whatever it was answered with.
        self.requests: list[Request] = []
        #: The ids of the events it took, as often as it took them.
        self.acknowledged: list[str] = []
        #: How many connections were opened to it.
        self.connections = 0
        #: What could not be read; a correct sender leaves it empty.
        self.malformed: list[Exception] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        #: What to pass as ``endpoint=``.
        self.url = f"http://127.0.0.1:{self.port}/api/v1/ingestion/events"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and break every connection. A second call does nothing."""
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

    def __enter__(self) -> Endpoint:
        """Use the endpoint for a block; it is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

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
        except Exception as failure:  # noqa: BLE001 - a test reads it: nothing malformed may come
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
        length = int(headers.get("content-length", 0))
        raw = reader.read(length)
        if len(raw) < length:  # the sender was killed, or gave up
            return None
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
        if not answer.byte_delay_s:
            connection.sendall(data)
            return not answer.close
        for offset in range(len(data)):
            connection.sendall(data[offset : offset + 1])
            if self._released.wait(answer.byte_delay_s):
                return False
        return not answer.close

    def _stored(self, request: Request, answer: Answer) -> list[str]:
        try:
            rejected = {entry["id"] for entry in json.loads(answer.body)["rejected"]}
        except (ValueError, KeyError, TypeError):
            rejected = set()
        return [event_id for event_id in request.ids if event_id not in rejected]


def unused_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
