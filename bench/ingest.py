"""What durable ingestion costs: a real server, until all is committed and searchable.

Run: PYTHONPATH=src python bench/ingest.py [--events 100000] [--directory DIR] [--json FILE]

Three parts of one run. A process of its own makes and compresses request bodies of 500 events
beforehand. A bare ``sqlite3`` loop in one thread stores them as any store must: inflate, parse,
compress, insert the same columns and the text into FTS5, commit each 500 with synchronous=FULL.
Then ``sessionbat serve`` gets the same bodies over two connections from another process. Time ends
when a word of the last event, sent after the others were answered, is found.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import orjson
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, as the other benchmarks are

from bench.processes import cpu_seconds, rss_megabytes
from bench.store import Words, generate
from sessionbat.server.store.opening import open_store

BATCH = 500
CONNECTIONS = 2
INDEXED_AT_ONCE = 2_000
#: Events a month: statistics cost by the hour that has events, and 40,000 are no month's.
PACE = 1_000_000
PATH = "/api/v1/ingestion/events"
LAST_WORD = "zzlastofall"


@dataclass(frozen=True)
class Found:
    """What a run found; ``ratio`` is of events a second, the server's to the bare loop's."""

    events: int
    bytes_an_event: float
    bare_events_per_s: float
    bare_cpu_us_an_event: float
    events_per_s: float
    ratio: float
    cpu_us_an_event: float
    answered_events_per_s: float
    searchable_after_s: float
    rss_mb: float
    bytes_on_disk_of_raw: float
    healthz_p95_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where the temporary directory is made")
    parser.add_argument("--json", type=Path, help="write what was found")
    parser.add_argument("--without-bare", action="store_true", help="no bare loop, so no ratio")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_bodies(options.make, options.events)
    elif options.send:
        send_all(options.port, options.send)
    else:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            found = measure(Path(directory), options.events, bare=not options.without_bare)
        report(found)
        if options.json:
            options.json.write_text(json.dumps(asdict(found), indent=1) + "\n")


def measure(directory: Path, events: int, *, bare: bool = True) -> Found:
    bodies = directory / "bodies"
    run_self("--make", bodies, "--events", events)
    raw = int((directory / "bodies.size").read_text())
    bare_seconds, bare_cpu = bare_loop(directory / "bare.db", bodies) if bare else (0.0, 0.0)
    (directory / "bare.db").unlink(missing_ok=True)
    path = directory / "served.db"
    with serving(path) as (process, port), pinging(port) as pings:
        cpu, started = cpu_seconds(process.pid), time.perf_counter()
        run_self("--send", bodies, "--port", port)
        answered = time.perf_counter() - started
        post_last(port)
        wait_until_found(port)
        seconds = time.perf_counter() - started
        cpu = cpu_seconds(process.pid) - cpu
        rss = rss_megabytes(process.pid)
    size = path.stat().st_size
    assert_stored(path, events + 1)
    rate, bare_rate = events / seconds, events / bare_seconds if bare else 0.0
    return Found(
        events=events,
        bytes_an_event=raw / events,
        bare_events_per_s=bare_rate,
        bare_cpu_us_an_event=1e6 * bare_cpu / events,
        events_per_s=rate,
        ratio=rate / bare_rate if bare else 0.0,
        cpu_us_an_event=1e6 * cpu / events,
        answered_events_per_s=events / answered,
        searchable_after_s=seconds - answered,
        rss_mb=rss,
        bytes_on_disk_of_raw=size / raw,
        healthz_p95_ms=1e3 * sorted(pings)[int(0.95 * (len(pings) - 1))],
    )


def report(found: Found) -> None:
    print(
        f"{found.events} events of {found.bytes_an_event:.0f} B, {CONNECTIONS} connections x"
        f" {BATCH}, until searchable: {found.events_per_s:.0f}/s, {found.cpu_us_an_event:.0f} us"
        f" CPU an event, {found.ratio:.2f} x the bare loop ({found.bare_events_per_s:.0f}/s,"
        f" {found.bare_cpu_us_an_event:.0f} us);"
        f" answered {found.answered_events_per_s:.0f}/s, found {found.searchable_after_s:.2f} s"
        f" later; {found.rss_mb:.0f} MB, disk {found.bytes_on_disk_of_raw:.3f} x raw,"
        f" /healthz p95 {found.healthz_p95_ms:.0f} ms"
    )


def run_self(*arguments: object) -> None:
    subprocess.run([sys.executable, __file__, *map(str, arguments)], check=True)


def make_bodies(path: Path, count: int) -> None:
    """Write compressed NDJSON bodies, each after its length; and their size before compression."""
    compress = zstandard.ZstdCompressor(level=1).compress
    events = islice(generate(max(count, PACE), Words(Random(1))), count)
    raw = 0
    with path.open("wb") as file:
        while batch := list(islice(events, BATCH)):
            raw += sum(map(len, batch))
            body = compress(b"\n".join(batch))
            file.write(struct.pack("!I", len(body)) + body)
    path.with_suffix(".size").write_text(str(raw))


def read_bodies(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while head := file.read(4):
            yield file.read(*struct.unpack("!I", head))


def bare_loop(path: Path, bodies: Path) -> tuple[float, float]:
    """Store everything the short way, without checks and summaries; seconds, and of CPU."""
    open_store(f"sqlite:///{path}").close()  # for its schema
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 2000; PRAGMA cache_size = -32000;"
        "INSERT INTO apps (id, name) VALUES (1, 'app');"
        "INSERT INTO sessions (id, app, session_id, first_at_us, last_at_us, observations,"
        " llm_calls, tool_calls, retrievals, errors, input_tokens, output_tokens)"
        " VALUES (1, 1, 'session', 0, 0, 0, 0, 0, 0, 0, 0, 0)"
    )
    inflate = zstandard.ZstdDecompressor().decompressobj
    compress = zstandard.ZstdCompressor(level=3).compress
    number, waiting = 0, list[tuple[int, str, str]]()
    cpu, started = time.thread_time(), time.perf_counter()
    for body in read_bodies(bodies):
        rows, payloads = [], []
        for raw in inflate().decompress(body).split(b"\n"):
            number += 1
            event = orjson.loads(raw)
            observation = event["observation"]
            rows.append(bare_row(number, event, observation))
            payloads.append((number, 1, compress(raw)))
            waiting.append((number, "app1", bare_text(observation)))
        connection.execute("BEGIN IMMEDIATE")
        places = ", ".join("?" * len(rows[0]))  # and no estimated cost
        connection.executemany(f"INSERT INTO events VALUES ({places}, NULL)", rows)
        connection.executemany("INSERT INTO payloads VALUES (?, ?, ?)", payloads)
        connection.execute("COMMIT")
        if len(waiting) >= INDEXED_AT_ONCE:
            bare_index(connection, waiting)
    bare_index(connection, waiting)
    seconds, cpu = time.perf_counter() - started, time.thread_time() - cpu
    connection.close()
    return seconds, cpu


def bare_row(number: int, event: dict[str, Any], observation: dict[str, Any]) -> tuple[Any, ...]:
    metrics = observation["metrics"]
    return (
        number,
        1,
        bytes.fromhex(event["id"]),
        1,
        None,
        number,
        number,
        observation["kind"],
        observation["name"],
        observation["metadata"].get("model"),
        observation["error"] is not None,
        metrics["latency_ms"],
        metrics.get("input_tokens"),
        metrics.get("output_tokens"),
        metrics.get("cost_usd"),
        None,
    )


def bare_text(observation: dict[str, Any]) -> str:
    texts: list[str] = []
    left = [observation["input"], observation["output"], observation["error"]]
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    return "\n".join(texts)


def bare_index(connection: sqlite3.Connection, waiting: list[tuple[int, str, str]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO texts (rowid, scope, text) VALUES (?, ?, ?)", waiting)
    connection.execute("COMMIT")
    waiting.clear()


@contextmanager
def serving(path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run ``sessionbat serve`` on a port of its choice until the block ends."""
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
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, int(line.partition("http://127.0.0.1:")[2].split()[0].rstrip("/"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def pinging(port: int) -> Iterator[list[float]]:
    """Ask for /healthz four times a second while the block runs; gives the seconds of each."""
    seconds, done = list[float](), threading.Event()

    def ping() -> None:
        while True:
            started = time.perf_counter()
            get(port, "/healthz")
            seconds.append(time.perf_counter() - started)
            if done.wait(0.25):
                return

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


FORM = {"Content-Type": "application/x-ndjson", "Content-Encoding": "zstd"}


def is_stored(answer: bytes) -> bool | None:
    """Whether an answer says that all is stored; None while it is incomplete."""
    if not answer.endswith(b"}"):
        return None
    return answer.startswith(b"HTTP/1.1 202 ") and b'"rejected":[]' in answer


def send_all(
    port: int,
    bodies: Path,
    path: str = PATH,
    form: Mapping[str, str] = FORM,
    is_stored: Callable[[bytes], bool | None] = is_stored,
) -> None:
    """Post each body on one of the connections; a bare client, so that little is its own cost."""
    waiting, taking = read_bodies(bodies), threading.Lock()
    headers = "".join(f"{name}: {value}\r\n" for name, value in form.items())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: %d\r\n\r\n"

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with taking:
                    body = next(waiting, None)
                if body is None:
                    return
                connection.sendall((head % len(body)).encode() + body)
                answer = connection.recv(65_536)
                while (stored := is_stored(answer)) is None:
                    answer += connection.recv(65_536)
                assert stored, answer

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for sending in [pool.submit(send) for _ in range(CONNECTIONS)]:
            sending.result()


def post_last(port: int) -> None:
    last = {"type": "llm", "id": "last", "app": "bench", "session_id": "last",
            "observation": {"kind": "llm", "output": LAST_WORD}}  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", PATH, orjson.dumps(last), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 202
    connection.close()


def wait_until_found(port: int) -> None:
    deadline = time.perf_counter() + 600
    while not orjson.loads(get(port, f"/api/v1/search?q={LAST_WORD}"))["items"]:
        if time.perf_counter() > deadline:
            raise SystemExit("the last event was not searchable within ten minutes")
        time.sleep(0.02)


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def assert_stored(path: Path, count: int) -> None:
    with sqlite3.connect(path) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM payloads").fetchone()
    assert stored == count, f"{stored} of {count} stored"


if __name__ == "__main__":
    main()
