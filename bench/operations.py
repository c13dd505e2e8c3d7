"""What the commands on a store cost those who are writing to it.

Run: PYTHONPATH=src python bench/operations.py [--events 100000]

Fills a store with generated events, then appends 50 more each 20 ms, as a server does, while each
command runs in a process of its own. Prints how long each took, how much memory, and how long an
append had to wait at most.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import orjson
from store import BEGIN, DAYS, Words, fill, generate

from sessionbat.server.ops.retention import Retention, enforce
from sessionbat.server.records import ReceivedEvent, SessionFilter
from sessionbat.server.store.opening import Store, open_store

BATCH = 50
PAUSE = 0.02


class Appending:
    """Appends from a thread of its own, and notes how long each append took."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # From time to time a minute apart: nothing of it is old.
        lines = generate(10**7, Words(random.Random(7)))
        while not self._stop.is_set():
            batch = []
            for data in islice(lines, BATCH):
                event = orjson.loads(data) | {"created_at": datetime.now(UTC).isoformat()}
                event["id"] = f"n{event['id']}"
                event["session_id"] = f"n{event['session_id']}"
                batch.append(ReceivedEvent(orjson.dumps(event), event, time.time_ns() // 1000))
            started = time.perf_counter()
            self._store.append(batch)
            self.seconds.append(time.perf_counter() - started)
            self._stop.wait(PAUSE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    age = datetime.now(UTC) - BEGIN
    tenth = timedelta(days=DAYS / 10)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        fill(directory / "store.db", generate(options.events, Words(random.Random(1))))
        store = open_store(f"sqlite:///{directory / 'store.db'}")
        appending = Appending(store)
        report("nothing", appending, lambda: time.sleep(5))
        for arguments in (
            ["backup", "copy.db"],
            ["export", "--output", "out.jsonl"],
            ["delete", "--user", some_user(store), "--yes"],
            ["retention", "--max-age", f"{int((age - tenth) / timedelta(hours=1))}h"],
        ):
            report(" ".join(arguments), appending, lambda words=arguments: run(directory, words))
        kept = Retention(max_age=age - 2 * tenth)
        report(
            "retention in the server itself",
            appending,
            lambda: (enforce(store, kept, datetime.now(UTC)), store.compact()),
        )
        appending.stop()
        store.close()


def some_user(store: Store) -> str:
    for user in (f"user_{n}" for n in range(8_000)):
        if store.list_sessions(where=SessionFilter(context=(("user_id", user),))).items:
            return user
    raise LookupError("no user")


def run(directory: Path, arguments: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sessionbat", *arguments, "--store", "sqlite:///store.db"],
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(f"   memory {usage.ru_maxrss / 1000:4.0f} MB, exit code {process.returncode}")


def report(name: str, appending: Appending, work: object) -> None:
    first = len(appending.seconds)
    started = time.perf_counter()
    work()  # type: ignore[operator]
    took = time.perf_counter() - started
    waits = sorted(appending.seconds[first:])
    print(
        f"{name:36} {took:6.1f} s; {len(waits) * BATCH} events appended meanwhile, an append"
        f" p50 {1e3 * statistics.median(waits):.0f} ms, longest {1e3 * waits[-1]:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
