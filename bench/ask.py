"""What `sessionbat serve` answers how fast, over HTTP, and the memory it takes.

Run: PYTHONPATH=src python bench/ask.py [--events 100000] [--directory DIR] [--json FILE]

Fills a store as ``bench/store.py`` does and asks the store itself; then starts a server on it,
measures how long until it answers, and asks it each question over one connection: lists, search,
statistics, and the first page of a session of 20,000 observations, as JSON and as HTML.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, as the other benchmarks are

from bench.ingest import serving
from bench.processes import rss_megabytes
from bench.store import ASKED, BEGIN, DAYS, Words, ask_all, fill, generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where the temporary directory is made")
    parser.add_argument("--json", type=Path, help="write what was found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path = Path(directory) / "store.db"
        words = Words(Random(1))
        fill(path, generate(options.events, words))
        ask_all(path, words)
        found = ask_server(path, words)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def ask_server(path: Path, words: Words) -> dict[str, float]:
    """Ask everything of a server; gives seconds, megabytes, and p95 in milliseconds."""
    started = time.perf_counter()
    with serving(path) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        get(connection, "/healthz")
        found = {"ready s": time.perf_counter() - started, "idle MB": rss_megabytes(process.pid)}
        get(connection, "/api/v1/sessions")
        found["ready and first list s"] = time.perf_counter() - started
        for name, address in addresses(words, Random(3)).items():
            seconds = [timed(connection, address()) for _ in range(ASKED)]
            found[name] = 1e3 * statistics.quantiles(seconds, n=20)[-1]
            print(
                f"{name:36} p50 {1e3 * statistics.median(seconds):7.2f}   p95 {found[name]:7.2f} ms"
                "  HTTP"
            )
        found["asked MB"] = rss_megabytes(process.pid)
        connection.close()
    print(
        f"ready {found['ready s']:.2f} s, with its first list {found['ready and first list s']:.2f}"
        f" s; {found['idle MB']:.0f} MB idle, {found['asked MB']:.0f} MB after all questions"
    )
    return found


def addresses(words: Words, chance: Random) -> dict[str, Callable[[], str]]:
    """Give each question as a maker of addresses, which may differ each time."""
    common, middling, rare = words.all[3:20], words.all[100:400], words.all[2000:4000]
    day, end = BEGIN + timedelta(days=DAYS // 2), BEGIN + timedelta(days=DAYS)

    def api(question: str, **parameters: object) -> str:
        return f"/api/v1/{question}?{urlencode(parameters)}"

    def span(since: datetime, until: datetime) -> dict[str, Any]:
        return {"from": since.isoformat(), "to": until.isoformat()}

    return {
        "list": lambda: api("sessions"),
        "list, app and error": lambda: api("sessions", app="support-bot", error="true"),
        "list, one user": lambda: api("sessions", user_id=f"user_{chance.randrange(8000)}"),
        "list, a key that nearly all share": lambda: api("sessions", environment="prod"),
        "search, rare": lambda: api("search", q=chance.choice(rare)),
        "search, middling": lambda: api("search", q=chance.choice(middling)),
        "search, common": lambda: api("search", app="support-bot", q=chance.choice(common)),
        "search, two together": lambda: api(
            "search", q=f"{chance.choice(common)} {chance.choice(middling)}"
        ),
        "one session": lambda: api("session", app="long", session_id="long"),
        "statistics, a day by hour": lambda: api(
            "statistics", by="hour", **span(day, day + timedelta(days=1))
        ),
        "statistics, a month by day": lambda: api("statistics", by="day", **span(BEGIN, end)),
        "statistics, a month by hour, one app": lambda: api(
            "statistics", by="hour", app="support-bot", **span(BEGIN, end)
        ),
        "statistics, a month by hour": lambda: api("statistics", by="hour", **span(BEGIN, end)),
        "200 of 20000 events": lambda: api("events", app="long", session_id="long", limit=200),
        "their page's JSON": lambda: "/session.json?app=long&id=long",
        "their page": lambda: "/session?app=long&id=long",
        "page of sessions": lambda: "/sessions",
    }


def timed(connection: http.client.HTTPConnection, address: str) -> float:
    started = time.perf_counter()
    get(connection, address)
    return time.perf_counter() - started


def get(connection: http.client.HTTPConnection, address: str) -> bytes:
    connection.request("GET", address)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (address, body[:300])
    return body


if __name__ == "__main__":
    main()
