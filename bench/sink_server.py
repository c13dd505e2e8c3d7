"""The endpoint that every contestant sends to: one process on loopback that answers at once.

It keeps what arrives and looks into it only when asked, after a measurement, with one exception:
SessionBat is owed a receipt, so its batches are decompressed and their lines counted before the
answer. That is work only SessionBat waits for.

Four ports, a manner each: `up`; `gzip`, the same but without zstd; `single`, which takes single
events and answers after 50 ms; `hanging`, which never answers. `refusing` is a port without
listener. `GET /-/reset` forgets, `GET /-/tally` counts what has come since.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
import zlib
from dataclasses import dataclass, field
from functools import partial

SINGLE_DELAY_S = 0.05

_MARKER = re.compile(rb"bench-(\d{8})")
_LANGSMITH_INFO = {
    "version": "0.12.0",
    "instance_flags": {"zstd_compression_enabled": True},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}


@dataclass
class Traffic:
    """What has come since the last reset."""

    requests: int = 0
    size: int = 0
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    bodies: list[tuple[bytes, bytes]] = field(default_factory=list)

    def tally(self) -> dict[str, int]:
        markers = {
            marker
            for encoding, body in self.bodies
            for marker in _MARKER.findall(decoded(encoding, body))
        }
        return {
            "events": len(markers),
            "requests": self.requests,
            "bytes": self.size,
            "connections": self.connections,
            "most_in_flight": self.most_in_flight,
        }


@dataclass(frozen=True)
class Manner:
    """How a port answers."""

    offers: str = ""
    delay_s: float = 0.0
    hangs: bool = False


MANNERS = {
    "up": Manner("Accept-Encoding: zstd, gzip"),
    "gzip": Manner("Accept-Encoding: gzip"),
    "single": Manner(delay_s=SINGLE_DELAY_S),
    "hanging": Manner(hangs=True),
}


class Exchange(asyncio.Protocol):
    """One connection: reads requests, answers each."""

    def __init__(self, site: Site, manner: Manner) -> None:
        self._site = site
        self._manner = manner
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        self._site.traffic.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            length = self._body_length(head, end + 4)
            if length is None or len(self._received) < end + 4 + length:
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._take(head, body)

    def _body_length(self, head: bytes, start: int) -> int | None:
        if b"\r\ntransfer-encoding: chunked" not in head:
            return int(_header(head, b"content-length") or 0)
        # Nobody here sends a second request before the answer, so the last chunk ends the data.
        ends = self._received.endswith(b"0\r\n\r\n")
        return len(self._received) - start if ends else None

    def _take(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path.startswith("/-/"):
            self._send(200, json.dumps(self._site.control(path[3:])).encode())
            return
        traffic = self._site.traffic
        if head.startswith(b"post"):
            traffic.requests += 1
            traffic.size += len(head) + 4 + len(body)
            encoding = _header(head, b"content-encoding")
            if b"\r\ntransfer-encoding: chunked" in head:
                encoding = b"chunked " + encoding
            traffic.bodies.append((encoding, body))
        if self._manner.hangs:
            return
        traffic.in_flight += 1
        traffic.most_in_flight = max(traffic.most_in_flight, traffic.in_flight)
        if self._manner.delay_s:
            asyncio.get_running_loop().call_later(
                self._manner.delay_s, self._answer, path, head, b""
            )
        else:
            self._answer(path, head, body)

    def _answer(self, path: str, head: bytes, body: bytes) -> None:
        self._site.traffic.in_flight -= 1
        if path.endswith("/ingestion/events"):
            self._send_receipt(head, body)
        elif path.endswith("/v1/traces"):
            self._send(200, b"", "Content-Type: application/x-protobuf\r\n")
        elif path.endswith("/info"):
            self._send(200, json.dumps(_LANGSMITH_INFO).encode())
        else:
            self._send(200, b'{"status": "Ok"}')

    def _send_receipt(self, head: bytes, body: bytes) -> None:
        if not self._manner.offers:
            self._send(202, b"{}")
            return
        count = 1
        if b"application/x-ndjson" in head:
            lines = decoded(_header(head, b"content-encoding"), body)
            count = lines.count(b"\n") + (not lines.endswith(b"\n"))
        receipt = {"accepted": count, "duplicates": 0, "rejected": []}
        offers = f"Accept-Post: application/json, application/x-ndjson\r\n{self._manner.offers}\r\n"
        self._send(202, json.dumps(receipt).encode(), offers)

    def _send(self, status: int, body: bytes, headers: str = "") -> None:
        if self._transport is not None:
            if "Content-Type" not in headers:
                headers += "Content-Type: application/json\r\n"
            head = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
            self._transport.write(head.encode() + body)


class Site:
    """All ports together, and what came to any of them."""

    def __init__(self) -> None:
        self.traffic = Traffic()

    def control(self, what: str) -> dict[str, int]:
        if what == "tally":
            return self.traffic.tally()
        self.traffic = Traffic()
        return {}

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        ports = {}
        for name, manner in MANNERS.items():
            server = await loop.create_server(
                partial(Exchange, self, manner), "127.0.0.1", 0, backlog=128
            )
            ports[name] = server.sockets[0].getsockname()[1]
        silent = socket.socket()  # bound, so that nobody else gets the port; not listening
        silent.bind(("127.0.0.1", 0))
        ports["refusing"] = silent.getsockname()[1]
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


def decoded(encoding: bytes, body: bytes) -> bytes:
    """Undo what `Content-Encoding`, and chunks where there are any, did to a body."""
    if encoding.startswith(b"chunked "):
        return decoded(encoding.removeprefix(b"chunked "), _joined_chunks(body))
    if encoding in (b"gzip", b"deflate"):
        return zlib.decompress(body, wbits=47)
    if encoding == b"zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
        content: bytes = reader.read()
        return content
    return body


def _joined_chunks(body: bytes) -> bytes:
    parts = []
    start = 0
    while (end := body.find(b"\r\n", start)) >= 0:
        size = int(body[start:end].partition(b";")[0], 16)
        parts.append(body[end + 2 : end + 2 + size])
        start = end + 2 + size + 2
    return b"".join(parts)


def _header(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(Site().serve())
