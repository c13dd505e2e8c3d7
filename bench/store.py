"""What the store costs: how fast it answers, and how much disk it takes.

Run: PYTHONPATH=src python bench/store.py [--events 100000] [--file EVENTS.jsonl]

Writes generated events (sessions of 1 to 60 steps, 25 on average; their texts are passages of
Python's reference manual) into a store in a temporary directory, waits until all are searchable,
and asks each question with changing parameters. With --file, it stores the events of a file and
prints the disk ratio only.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import orjson

from sessionbat.server.records import ReceivedEvent, SessionFilter
from sessionbat.server.store.opening import Store, open_store

BATCH = 500
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
#: When all was received: no event counts as later than that.
RECEIVED_AT_US = int((BEGIN + timedelta(days=90)).timestamp() * 1e6)
DAYS = 31
APPS = ["support-bot"] * 7 + ["sales-agent"] * 2 + ["internal-search"]
MODELS = ["gpt-5.4-mini", "gpt-5.4", "claude-sonnet-5"]
TOOLS = ["lookup_account", "search_orders", "refund", "send_email", "check_stock"]
LONG_SESSION = 20_000
ASKED = 40


class Words:
    """Passages of Python's reference manual: words as rare and as common as a language has them."""

    def __init__(self, chance: random.Random) -> None:
        manual = "\n".join(topics[name] for name in sorted(topics))
        self._words = re.findall(r"[A-Za-z][A-Za-z'-]*[.,:?]?", manual)
        counts = Counter(word.strip(".,:?").lower() for word in self._words)
        #: Its words, common ones first.
        self.all = [word for word, _ in counts.most_common()]
        self._chance = chance

    def text(self, count: int) -> str:
        start = self._chance.randrange(len(self._words) - count)
        return " ".join(self._words[start : start + count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--directory", type=Path, help="where the temporary directory is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path = Path(directory) / "store.db"
        if options.file:
            fill(path, (line.strip() for line in options.file.open("rb")))
            return
        words = Words(random.Random(1))
        fill(path, generate(options.events, words))
        ask_all(path, words)


def generate(count: int, words: Words) -> Iterator[bytes]:
    """Make events in the order of their time, some sessions side by side."""
    chance = random.Random(2)
    at, step = BEGIN, timedelta(days=DAYS) / count
    open_sessions: list[Iterator[dict[str, Any]]] = []
    sessions = 0
    for _ in range(count):
        while len(open_sessions) < 40:
            open_sessions.append(session(sessions, chance, words))
            sessions += 1
        index = chance.randrange(len(open_sessions))
        event = next(open_sessions[index], None)
        while event is None:
            open_sessions[index] = session(sessions, chance, words)
            sessions += 1
            event = next(open_sessions[index], None)
        at += step
        event["created_at"] = at.isoformat().replace("+00:00", "Z")
        # As the SDK makes them (UUIDv7): what is recorded together lies together in an index.
        event["id"] = f"{int(at.timestamp() * 1000):012x}7{chance.getrandbits(76):019x}"
        yield orjson.dumps(event)


def session(number: int, chance: random.Random, words: Words) -> Iterator[dict[str, Any]]:
    app = chance.choice(APPS)
    context = {
        "user_id": f"user_{chance.randrange(8_000)}",
        "environment": "prod" if chance.random() < 0.95 else "staging",
        "release": f"2026.10.{chance.randrange(30)}",
    }
    for n in range(min(60, 1 + int(chance.expovariate(1 / 27)))):
        kind = chance.choices(("llm", "tool", "retrieval"), (5, 4, 1))[0]
        yield {
            "type": kind,
            "id": "",
            "created_at": "",
            "app": app,
            "session_id": f"thread_{number:08x}",
            "interaction_id": f"turn_{n // 6}",
            "tags": ["production"],
            "context": context,
            "observation": observation(kind, chance, words),
        }


def observation(kind: str, chance: random.Random, words: Words) -> dict[str, Any]:
    failed = chance.random() < 0.02
    made: dict[str, Any] = {
        "kind": kind,
        "name": None,
        "started_at": None,
        "input": None,
        "output": None,
        "error": {"type": "TimeoutError", "message": words.text(8)} if failed else None,
        "metadata": {},
        "metrics": {"latency_ms": round(chance.lognormvariate(6, 1), 1)},
    }
    if kind == "llm":
        said = [{"role": role, "content": words.text(35)} for role in ("system", "user")]
        made["input"] = {"messages": said}
        made["output"] = {"text": words.text(40)}
        made["metadata"] = {"model": chance.choice(MODELS), "provider": "openai"}
        made["metrics"] |= {"input_tokens": chance.randrange(2_000), "output_tokens": 80,
                            "cost_usd": round(chance.random() / 100, 6)}  # fmt: skip
    elif kind == "tool":
        made["name"] = chance.choice(TOOLS)
        made["input"] = {"account_id": f"acct_{chance.randrange(9_999)}", "note": words.text(10)}
        made["output"] = {"status": "ok", "details": words.text(60)}
    else:
        made["input"] = {"query": words.text(6)}
        made["output"] = {
            "documents": [
                {"id": f"doc_{n}", "title": words.text(5), "score": 0.9, "content": words.text(40)}
                for n in range(3)
            ]
        }
    return made


def fill(path: Path, events: Iterable[bytes]) -> None:
    store = open_store(f"sqlite:///{path}")
    raw = count = 0
    spent = 0.0
    lines = iter(events)
    while batch := list(islice(lines, BATCH)):
        received = [ReceivedEvent(data, orjson.loads(data), RECEIVED_AT_US) for data in batch]
        started = time.perf_counter()
        store.append(received)
        spent += time.perf_counter() - started
        raw += sum(map(len, batch))
        count += len(batch)
    started = time.perf_counter()
    wait_until_searchable(store)
    waited = time.perf_counter() - started
    wait_until_at_rest(path)
    store.close()
    size = path.stat().st_size
    print(
        f"{count} events of {raw / count:.0f} B: append {count / spent:.0f}/s, searchable"
        f" {waited:.1f} s after the last; disk {size / raw:.3f} x raw"
        f" ({size / count:.0f} B an event)"
    )


def wait_until_searchable(store: Store) -> None:
    last = {"type": "llm", "id": "last", "app": "bench", "session_id": "last",
            "observation": {"kind": "llm", "output": "lastofall"}}  # fmt: skip
    store.append([ReceivedEvent(orjson.dumps(last), last, RECEIVED_AT_US)])
    while not store.search("lastofall", app="bench").items:
        time.sleep(0.01)


def wait_until_at_rest(path: Path) -> None:
    """Wait until pages that merging the text index left are given back."""
    connection = sqlite3.connect(path)
    free, before = connection.execute("PRAGMA freelist_count").fetchone()[0], None
    while free != before:
        time.sleep(1)
        before, free = free, connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.close()


def ask_all(path: Path, words: Words) -> None:
    started = time.perf_counter()
    store = open_store(f"sqlite:///{path}")
    store.list_sessions()
    print(f"open and first list {1e3 * (time.perf_counter() - started):.0f} ms")
    long_session(store)
    chance = random.Random(3)
    ids = [
        (s.app, s.session_id) for s in store.list_sessions(limit=1000).items if s.observations < 100
    ]
    day = BEGIN + timedelta(days=DAYS // 2)
    in_app = {"app": "support-bot"}
    common, middling, rare = words.all[3:20], words.all[100:400], words.all[2000:4000]

    def listed(**where: Any) -> Any:
        return store.list_sessions(**in_app, where=SessionFilter(**where))

    questions: dict[str, Callable[[], Any]] = {
        "list": lambda: store.list_sessions(),
        "list, one app": lambda: store.list_sessions(**in_app),
        "list, app and error": lambda: listed(error=True),
        "list, one user": lambda: listed(context=(("user_id", f"user_{chance.randrange(8000)}"),)),
        "list, a key that nearly all share": lambda: listed(context=(("environment", "prod"),)),
        "list, a key that few share": lambda: listed(context=(("environment", "staging"),)),
        "list, tool and error type": lambda: listed(tool="refund", error_type="TimeoutError"),
        "list, a day": lambda: listed(since=day, until=day + timedelta(days=1)),
        "list by cost": lambda: store.list_sessions(**in_app, sort="cost"),
        "list by duration, all apps": lambda: store.list_sessions(sort="duration"),
        "search, rare": lambda: store.search(chance.choice(rare)),
        "search, middling": lambda: store.search(chance.choice(middling)),
        "search, common": lambda: store.search(chance.choice(common), **in_app),
        "search, two together": lambda: store.search(
            f"{chance.choice(common)} {chance.choice(middling)}"
        ),
        "search, phrase": lambda: store.search(
            f'"{chance.choice(common)} {chance.choice(common)}"', **in_app
        ),
        "one session": lambda: store.get_session(*chance.choice(ids)),
        "its events": lambda: store.list_events(*chance.choice(ids)),
        "statistics, a day by hour": lambda: store.statistics(
            **in_app, by="hour", since=day, until=day + timedelta(days=1)
        ),
        "statistics, a month by day": lambda: store.statistics(
            by="day", since=BEGIN, until=BEGIN + timedelta(days=DAYS), group="model"
        ),
        "statistics, a month by hour": lambda: store.statistics(
            **in_app, by="hour", since=BEGIN, until=BEGIN + timedelta(days=DAYS)
        ),
        f"200 of {LONG_SESSION} events": lambda: store.list_events("long", "long", limit=200),
    }
    for name, question in questions.items():
        seconds = []
        for _ in range(ASKED):
            started = time.perf_counter()
            question()
            seconds.append(time.perf_counter() - started)
        p95 = statistics.quantiles(seconds, n=20)[-1]
        print(f"{name:36} p50 {1e3 * statistics.median(seconds):7.2f}   p95 {1e3 * p95:7.2f} ms")
    store.close()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


def long_session(store: Store) -> None:
    for start in range(0, LONG_SESSION, BATCH):
        events = []
        for n in range(start, start + BATCH):
            answer = {"kind": "llm", "output": f"answer {n} " + "word " * 100}
            event = {"type": "llm", "id": f"long{n}", "app": "long", "session_id": "long",
                     "created_at": f"2026-11-30T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z",
                     "observation": answer}  # fmt: skip
            events.append(ReceivedEvent(orjson.dumps(event), event, RECEIVED_AT_US))
        store.append(events)


if __name__ == "__main__":
    main()
