"""What hostile clients cost the others: /healthz and one event, asked all the while.

Run: PYTHONPATH=src python bench/robustness.py [--connections 1000]

Server and attackers run as processes of their own, on loopback, with the default limits but 3 s for
heads and bodies. Each line names what was done to it, how long others waited meanwhile
(p95 and the longest), and the server's memory at its highest so far.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import multiprocessing
import multiprocessing.synchronize
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sessionbat.server.web.file_limit import raise_file_limit

SERVE = """
import sys
from sessionbat.server.serving import serve
from sessionbat.server.settings import Settings
serve(Settings(port=int(sys.argv[1]), store_url=sys.argv[2], head_timeout=3.0, body_timeout=3.0))
"""
PATH = "/api/v1/ingestion/events"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
EVENTS = b"GET /api/v1/events?app=a&session_id=big HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS = 5.0
FORK = multiprocessing.get_context("fork")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000)
    count = parser.parse_args().connections
    raise_file_limit()
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as (pid, port):
        fill(port)
        for name, attack in attacks(count):
            measure(name, port, pid, attack)
        measure("nothing, afterwards", port, pid, lambda _, stop: stop.wait())


Stop = multiprocessing.synchronize.Event
Attack = Callable[[int, Stop], object]


def attacks(count: int) -> Iterator[tuple[str, Attack]]:
    yield "nothing", lambda _, stop: stop.wait()
    yield f"{count} idle connections", lambda port, stop: hold(port, stop, count, GET)
    yield f"{count} connections that say nothing", lambda port, stop: hold(port, stop, count, b"")
    yield f"{count} heads, a byte a second", lambda port, stop: drip(port, stop, count, GET[:-4])
    yield (
        f"{count // 4} bodies, a byte a second",
        lambda port, stop: drip(
            port, stop, count // 4, POST + b"Content-Length: 1000\r\n\r\n" + b" " * 99
        ),
    )
    yield "50 readers of 8 MB that do not read", lambda port, stop: hold(port, stop, 50, EVENTS)
    yield "10 senders of 100 MB bodies", lambda port, stop: many(port, stop, 10, send_large)
    yield "4 senders of gzip bombs", lambda port, stop: many(port, stop, 4, send_bomb)
    yield "4 senders of 30 MB of empty objects", lambda port, stop: many(port, stop, 4, send_wide)
    yield "10 senders of endless headers", lambda port, stop: many(port, stop, 10, send_headers)


def measure(name: str, port: int, pid: int, attack: Attack) -> None:
    stop = FORK.Event()
    attacker = FORK.Process(target=attack, args=(port, stop), daemon=True)
    attacker.start()
    time.sleep(0.5)
    healthy, stored = [], []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        healthy.append(timed(port, "GET", "/healthz", None, 200))
        stored.append(timed(port, "POST", PATH, one_event(), 202))
        time.sleep(0.01)
    stop.set()
    attacker.join(10)
    attacker.kill()
    print(
        f"{name:38}"
        f" /healthz p95 {p95(healthy):6.1f} max {max(healthy):6.1f} ms,"
        f" one event p95 {p95(stored):6.1f} max {max(stored):6.1f} ms,"
        f" {peak_megabytes(pid):4.0f} MB ({len(healthy)} times)",
        flush=True,
    )


def timed(port: int, method: str, path: str, body: bytes | None, expected: int) -> float:
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == expected, response.status
    return (time.perf_counter() - started) * 1000


_numbers = iter(range(10**9))


def one_event(session: str = "s", text: str = "hello") -> bytes:
    event = {
        "type": "llm", "id": f"e{next(_numbers)}", "app": "a", "session_id": session,
        "observation": {"kind": "llm", "input": text},
    }  # fmt: skip
    return json.dumps(event).encode()


def fill(port: int) -> None:
    for _ in range(16):
        timed(port, "POST", PATH, one_event("big", "x" * 500_000), 202)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def hold(port: int, stop: Stop, count: int, first: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(connect(port))
            connection.sendall(first)
        stop.wait()


def drip(port: int, stop: Stop, count: int, data: bytes) -> None:
    """Send all but the last 20 bytes at once, those one each second; begin anew when closed."""
    with ExitStack() as stack:
        open_ = []
        for _ in range(count):
            open_.append(stack.enter_context(connect(port)))
            open_[-1].sendall(data[:-20])
        for place in range(len(data) - 20, len(data)):
            if stop.wait(1):
                return
            for number, connection in enumerate(open_):
                try:
                    connection.sendall(data[place : place + 1])
                except OSError:
                    connection.close()
                    open_[number] = stack.enter_context(connect(port))
                    open_[number].sendall(data[:-20])


def many(port: int, stop: Stop, count: int, send: Callable[[int, Stop], None]) -> None:
    def sender() -> None:
        while not stop.is_set():
            try:
                send(port, stop)
            except OSError:
                time.sleep(0.05)  # closed by the server, as it should

    threads = [threading.Thread(target=sender) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def send_large(port: int, stop: Stop) -> None:
    with connect(port) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            if stop.is_set():
                return
            connection.sendall(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        connection.recv(65_536)


BOMB = gzip.compress(b"[" + b"0" * 1_000_000_000)
WIDE = gzip.compress(b"[" + b"[" + b"{}," * 10_000_000 + b"{}]]")


def send_bomb(port: int, stop: Stop) -> None:
    send_whole(port, BOMB)


def send_wide(port: int, stop: Stop) -> None:
    send_whole(port, WIDE)


def send_whole(port: int, body: bytes) -> None:
    with connect(port) as connection:
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(POST + head + body)
        connection.recv(65_536)


def send_headers(port: int, stop: Stop) -> None:
    with connect(port) as connection:
        connection.sendall(GET[:-2] + b"X: ")
        while not stop.is_set():
            connection.sendall(b"x" * 65_536)


@contextmanager
def serving(directory: Path) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(port), f"sqlite:///{directory / 'store.db'}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it serves once it does
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:") / 1024


def p95(values: list[float]) -> float:
    return statistics.quantiles(values * 2, n=20, method="inclusive")[-1]


if __name__ == "__main__":
    main()
