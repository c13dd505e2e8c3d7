"""What the server costs: ready time, idle memory, durable ingestion beside a bare sqlite3 loop.

Run: PYTHONPATH=src python bench/serve.py [--events 40000]

The server runs as a process of its own; the load generator beside it on the same machine. Every
event counted here was answered 202 after its commit. The bare loop does in one thread what any
store must: decode, compress, insert the same columns, commit each 500 events, synchronous=FULL.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, as the other benchmarks are

from bench.processes import cpu_seconds, rss_megabytes
from sessionbat.event import new_event_id
from sessionbat.server.store.opening import open_store

SERVE = """
import sys
from sessionbat.server.serving import serve
from sessionbat.server.settings import Settings
serve(Settings(port=int(sys.argv[1]), store_url=sys.argv[2]))
"""
BATCH = 500
WORDS = (  # noqa: SIM905 - readable
    "account locked reset password link email expired token invoice refund flight booking seat "
    "upgrade policy window customer please thanks error timeout retry search result document"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=40_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as directory:
        measure_start(Path(directory))
        measure_ingestion(Path(directory), count)
        measure_single_events(Path(directory), max(count // 20, 1_000))


def measure_start(directory: Path) -> None:
    ready = []
    for _ in range(5):
        with serving(directory / "start.db") as (process, _, seconds):
            ready.append(seconds)
            rss = rss_megabytes(process.pid)
    print(f"ready {statistics.median(ready):.2f} s (worst {max(ready):.2f}), idle {rss:.0f} MB")


def measure_ingestion(directory: Path, count: int) -> None:
    events = make_events(count)
    raw = sum(map(len, events))
    bare = bare_loop(directory / "bare.db", events)
    batches = [b"\n".join(events[n : n + BATCH]) for n in range(0, count, BATCH)]
    path = directory / "served.db"
    with serving(path) as (process, port, _):
        pings, done = list[float](), threading.Event()
        pinger = threading.Thread(target=ping, args=(port, pings, done))
        pinger.start()
        cpu, started = cpu_seconds(process.pid), time.perf_counter()
        post_all(port, batches, connections=2)
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(process.pid) - cpu
        done.set()
        pinger.join()
        rss = rss_megabytes(process.pid)
    assert_stored(path, count)
    print(
        f"{count} events of {raw / count:.0f} B, 2 connections x {BATCH}: {count / seconds:.0f}/s,"
        f" {1e6 * cpu / count:.0f} us CPU an event, {100 * bare / seconds:.0f} % of the bare loop"
        f" ({count / bare:.0f}/s), {rss:.0f} MB, disk {path.stat().st_size / raw:.2f} x raw,"
        f" /healthz p95 {1e3 * statistics.quantiles(pings, n=20)[-1]:.0f} ms"
    )


def measure_single_events(directory: Path, count: int) -> None:
    events = make_events(count)
    with serving(directory / "single.db") as (process, port, _):
        cpu, started = cpu_seconds(process.pid), time.perf_counter()
        post_all(port, events, connections=16)
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(process.pid) - cpu
    assert_stored(directory / "single.db", count)
    print(
        f"{count} events, 16 connections x 1: {count / seconds:.0f}/s,"
        f" {1e6 * cpu / count:.0f} us CPU an event"
    )


def make_events(count: int) -> list[bytes]:
    """Make events of about 1.2 KB, 25 to a session, with text that is no single repeated word."""
    made = []
    for n in range(count):
        text = " ".join(WORDS[(n * 7 + i * i) % len(WORDS)] + str((n * i) % 97) for i in range(80))
        observation = {
            "kind": "llm",
            "name": None,
            "started_at": None,
            "input": {"messages": [{"role": "user", "content": text}]},
            "output": {"text": f"Answer {n}: {text[:180]}"},
            "error": None,
            "metadata": {"model": "gpt-5.4-mini"},
            "metrics": {"latency_ms": 820 + n % 100, "input_tokens": 142, "output_tokens": 36},
        }
        event = {
            "type": "llm",
            "id": new_event_id(),
            "created_at": "2026-11-22T16:00:00.123456Z",
            "app": "support-bot",
            "session_id": f"thread_{n // 25}",
            "interaction_id": f"interaction_{n // 5}",
            "tags": ["production"],
            "context": {"user_id": f"user_{n // 50}", "environment": "prod"},
            "observation": observation,
        }
        made.append(orjson.dumps(event))
    return made


def bare_loop(path: Path, events: list[bytes]) -> float:
    open_store(f"sqlite:///{path}").close()  # for its schema
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    connection.execute("INSERT INTO apps (id, name) VALUES (1, 'support-bot')")
    connection.execute(
        "INSERT INTO sessions VALUES (1, 1, 'thread', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0)"
    )
    compress = zstandard.ZstdCompressor(level=3).compress
    started = time.perf_counter()
    for start in range(0, len(events), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        for number, raw in enumerate(events[start : start + BATCH], start):
            event = orjson.loads(raw)
            metrics = event["observation"]["metrics"]
            connection.execute(
                "INSERT INTO events VALUES"
                " (?, 1, ?, 1, NULL, ?, 0, ?, ?, ?, 0, ?, ?, ?, NULL, NULL, NULL)",
                (
                    number,
                    bytes.fromhex(event["id"]),
                    number,
                    event["type"],
                    event["observation"]["name"],
                    event["observation"]["metadata"]["model"],
                    metrics["latency_ms"],
                    metrics["input_tokens"],
                    metrics["output_tokens"],
                ),
            )
            connection.execute("INSERT INTO payloads VALUES (?, 1, ?)", (number, compress(raw)))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


@contextmanager
def serving(path: Path) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    """Run a server process; gives it, its port, and the seconds until it answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port), f"sqlite:///{path}"], stdout=subprocess.DEVNULL
    )
    try:
        yield process, port, wait_until_healthy(port, started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_healthy(port: int, started: float) -> float:
    while time.perf_counter() < started + 20:
        try:
            get_healthz(port)
        except OSError:
            time.sleep(0.005)
        else:
            return time.perf_counter() - started
    raise SystemExit("the server did not start")


def get_healthz(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    connection.close()


def ping(port: int, seconds: list[float], done: threading.Event) -> None:
    while not done.wait(0.1):
        started = time.perf_counter()
        get_healthz(port)
        seconds.append(time.perf_counter() - started)


def post_all(port: int, bodies: list[bytes], connections: int) -> None:
    """Post each body on one of the connections; a bare client, so that little is its own cost."""
    head = (
        b"POST /api/v1/ingestion/events HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
    )
    requests = iter([head % len(body) + body for body in bodies])

    def post() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in requests:
                connection.sendall(request)
                answer = connection.recv(65_536)
                while not answer.endswith(b"}"):
                    answer += connection.recv(65_536)
                assert answer.startswith(b"HTTP/1.1 202 "), answer

    threads = [threading.Thread(target=post) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def assert_stored(path: Path, count: int) -> None:
    store = open_store(f"sqlite:///{path}")
    stored = store.count_events()
    store.close()
    assert stored == count, f"{stored} of {count} stored"


if __name__ == "__main__":
    main()
