"""What the suites of every store append, and how they look at what has become of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sessionbat.server.records import (
    ReceivedEvent,
    SessionFilter,
    SessionSummary,
    Statistic,
)
from sessionbat.server.store.opening import Store

OF_THE_OBSERVATION = ("name", "input", "output", "error", "metrics", "metadata")


RECEIVED_AT_US = 1_795_456_800_000_000  # 2026-11-23T18:00:00Z


def received(id: str, *, kind: str = "llm", at: str | None = None, **changes: Any) -> ReceivedEvent:
    """Make an event as ingestion hands it over; ``at`` is a time of 2026-11-22."""
    observation = {name: changes.pop(name) for name in OF_THE_OBSERVATION if name in changes}
    event = {
        "type": kind,
        "id": id,
        "app": "support-bot",
        "session_id": "s1",
        "created_at": at and f"2026-11-22T{at}Z",
        "observation": {"kind": kind, **observation},
        **changes,
    }
    return ReceivedEvent(json.dumps(event).encode(), event, RECEIVED_AT_US)


def ids(store: Store, session_id: str = "s1", app: str = "support-bot") -> list[str]:
    return [item.id for item in store.list_events(app, session_id, limit=1000).items]


def summary(store: Store, session_id: str = "s1", app: str = "support-bot") -> SessionSummary:
    found = store.get_session(app, session_id)
    assert found is not None
    return found


def resent(n: int, **changes: Any) -> ReceivedEvent:
    """Make the n-th model call of an agent that sends its whole conversation each time."""
    messages = [{"role": "user", "content": f"word{m} Grüße 🦇"} for m in range(n)]
    return received(f"e{n}", at=f"10:00:{n:02}", input={"messages": messages}, **changes)


AS_WRITTEN: dict[str, Callable[[Any], bytes]] = {
    "compact": lambda event: json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(),
    "spaced": lambda event: json.dumps(event).encode(),
    "indented": lambda event: json.dumps(event, indent=1).encode(),
    "escaped": lambda event: json.dumps(event, separators=(",", ":")).encode(),
}


def said(id: str, words: str, **changes: Any) -> ReceivedEvent:
    """Make a model call in which a user says something."""
    return received(id, input={"messages": [{"role": "user", "content": words}]}, **changes)


def listed(
    store: Store, *, app: str | None = None, sort: Any = "last_activity", **where: Any
) -> str:
    """Give the ids of the sessions listed, with spaces between."""
    page = store.list_sessions(app=app, sort=sort, where=SessionFilter(**where))
    return " ".join(session.session_id for session in page.items)


def found(store: Store, query: str, count: int = 1, **asked: Any) -> list[str]:
    """Search until there are ``count`` results or two seconds are over; give their ids."""
    deadline = time.monotonic() + 2
    while True:
        hits = [hit.id for hit in store.search(query, **asked).items]
        if len(hits) >= count or time.monotonic() > deadline:
            return hits
        time.sleep(0.01)  # between two looks; fewer than asked for is an answer, too


def searchable(store: Store, *events: ReceivedEvent) -> None:
    """Append events, and one that can be found when all can."""
    marker = f"marker{len(events)}{store.count_events()}"
    store.append([*events, received(marker, session_id="marker", output=marker)])
    assert found(store, marker) == [marker]


DAY = datetime(2026, 11, 22, tzinfo=UTC)


def statistics(store: Store, by: Any = "hour", hours: int = 24, **asked: Any) -> list[Statistic]:
    return store.statistics(by=by, since=DAY, until=DAY + timedelta(hours=hours), **asked)


def two_sessions() -> tuple[list[ReceivedEvent], list[ReceivedEvent]]:
    leaving = [
        said("l1", "I am locked out", at="10:00:00", metrics={"latency_ms": 9000}, tags=["vip"]),
        received("l2", kind="tool", at="11:00:00", name="lookup", error={"type": "Timeout"}),
        *(resent(n) for n in range(4, 9)),
    ]
    staying = [
        said("s1", "reset, I am locked out", session_id="s2", at="10:00:00"),
        *(resent(n, session_id="s2", app="other") for n in range(4, 7)),
        received("s3", session_id="s3", at="10:30:00", metrics={"latency_ms": 10, "cost_usd": 1}),
    ]
    return leaving, staying
