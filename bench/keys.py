"""What keys cost: a lookup, an event sent with a key beside one without, and a flood of wrong keys.

Run: PYTHONPATH=src python -m bench.keys [--requests 2000]

The server runs as a process of its own, this beside it on the same machine. An event of 1.2 KB goes
alone in each request, on one connection, and is answered 202 after its commit. The flood comes on
two further connections, as fast as they are answered, for as long as the events take.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.serve import make_events, serving
from sessionbat.server.access.keys import is_same, new_key
from sessionbat.server.store.opening import open_store

HEAD = (
    "POST /api/v1/ingestion/events HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n"
)
WRONG = "sbat_ingest_" + "a" * 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2_000)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "keys.db"
        with serving(path) as (_, port, _):
            report("without any key", post(port, make_events(count), ""))
        key, stored = new_key("ingest", "support-bot", "")
        store = open_store(f"sqlite:///{path}")
        store.add_key(stored)
        for what, call in {
            "find a key": lambda: store.find_key(stored.id),
            "is there any": store.has_keys,
            "compare": lambda: is_same(key, stored),
        }.items():
            print(f"{what}: {microseconds(call):.1f} us")
        store.close()
        with serving(path) as (_, port, _):
            report("with a key", post(port, make_events(count), key))
            flood = Flood(port, connections=2)
            seconds = post(port, make_events(count), key)
            rate = flood.end()
            report(f"with a key, beside {rate:.0f} wrong ones a second", seconds)


def microseconds(call: Callable[[], object], repeats: int = 5_000) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return 1e6 * (time.perf_counter() - started) / repeats


def post(port: int, events: list[bytes], key: str) -> list[float]:
    """Post each event alone; give the seconds until each was answered."""
    taken = []
    with connected(port) as connection:
        for event in events:
            request = HEAD.format(key, len(event)).encode() + event
            started = time.perf_counter()
            answer = ask(connection, request)
            taken.append(time.perf_counter() - started)
            assert answer.startswith(b"HTTP/1.1 202 "), answer
    return taken


class Flood:
    """Sends wrong keys from threads until it is ended."""

    def __init__(self, port: int, connections: int) -> None:
        self._done = threading.Event()
        self._count = [0] * connections
        self._started = time.perf_counter()
        self._threads = [
            threading.Thread(target=self._send, args=(port, n)) for n in range(connections)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> float:
        """Stop; give how many were answered a second."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        return sum(self._count) / (time.perf_counter() - self._started)

    def _send(self, port: int, n: int) -> None:
        request = HEAD.format(WRONG, 2).encode() + b"{}"
        with connected(port) as connection:
            while not self._done.is_set():
                answer = ask(connection, request)
                assert answer[9:12] in (b"401", b"429"), answer
                self._count[n] += 1


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    answer = connection.recv(65_536)
    while not answer.endswith(b"}"):
        answer += connection.recv(65_536)
    return answer


def report(what: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{what}: p50 {1e3 * cuts[49]:.2f} ms, p95 {1e3 * cuts[94]:.2f} ms an event")


if __name__ == "__main__":
    main()
