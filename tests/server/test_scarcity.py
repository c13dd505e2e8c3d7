"""A server short of what the machine gives it: ten thousand connections, and little memory."""

from __future__ import annotations

import gzip
import http.client
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sessionbat.server.store.opening import open_store
from tests.server.wire import PATH, event, ndjson

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and Linux's limits"),
]

CONNECTING = """
import resource, socket, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
request = b"GET /healthz HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n"
held = []
for number in range(int(sys.argv[2])):
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    connection.sendall((b"", request[:20], request)[number % 3])  # silent, half a head, idle
    held.append(connection)
print(len(held), flush=True)
sys.stdin.readline()
"""


class Served(NamedTuple):
    port: int
    pid: int
    path: Path

    def post(self, body: bytes, **coding: str) -> int:
        """Send lines; gives the status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/x-ndjson", **coding}
            connection.request("POST", PATH, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def peak_mb(self) -> float:
        """Give the most memory that it has taken so far."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


@contextmanager
def serving(directory: Path, prepare: Callable[[], None] | None = None) -> Iterator[Served]:
    path = directory / "store.db"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sessionbat",
            "serve",
            "--port",
            "0",
            "--store",
            f"sqlite:///{path}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=prepare,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        yield Served(int(address.rsplit(":", 1)[1]), process.pid, path)
        assert process.poll() is None, "the server has ended"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def connections(port: int, count: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", CONNECTING, str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{count}\n"
        yield
    finally:
        process.kill()
        process.communicate(timeout=30)


def stored(path: Path) -> int:
    store = open_store(f"sqlite:///{path}")
    try:
        return store.count_events()
    finally:
        store.close()


def test_ten_thousand_connections_keep_nobody_from_sending(tmp_path: Path) -> None:
    """At rest: an event takes 7 ms, the server 60 MB."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("this machine lets no process have 4,096 open files")
    with serving(tmp_path) as server, ExitStack() as held:
        for _ in range(4):
            held.enter_context(connections(server.port, 2500))
        waits = []
        for number in range(50):
            started = time.monotonic()
            assert server.post(ndjson(event(f"e{number}"))) == 202
            waits.append(time.monotonic() - started)
        assert sorted(waits)[47] < 1
        assert server.peak_mb() < 300
    assert stored(server.path) == 50


def test_large_bodies_within_little_memory_end_no_server(tmp_path: Path) -> None:
    """It takes 240 MB for this; with 330 MB of addresses a library ends the process."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))

    def large(name: str, value: object) -> bytes:
        return ndjson(*(event(f"{name}-{n}", observation={"input": value}) for n in range(4)))

    numbers = gzip.compress(large("numbers", [1] * 240_000))
    texts = large("texts", "word " * 600_000)
    statuses = Counter[int]()
    until = time.monotonic() + 8

    def send(body: bytes, **headers: str) -> None:
        while time.monotonic() < until:
            statuses[server.post(body, **headers)] += 1

    with serving(tmp_path, limit) as server:
        threads = [threading.Thread(target=send, args=(texts,)) for _ in range(4)]
        for _ in range(4):
            coded = {"Content-Encoding": "gzip"}
            threads.append(threading.Thread(target=send, args=(numbers,), kwargs=coded))
        for thread in threads:
            thread.start()
        own = 0
        while time.monotonic() < until:
            status = server.post(ndjson(event(f"own-{own}")))
            assert status in (202, 503)
            own += status == 202
        for thread in threads:
            thread.join()
        assert own > 5
        assert set(statuses) <= {202, 503}
        assert statuses[202] > 2
    assert stored(server.path) >= own
