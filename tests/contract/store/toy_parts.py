"""Parts with rules of the tests' own.

In these a part names a session or not, and has an event or not. A trace's session is the least that
any part of it names. Of parts with the same response the one that says most is the event, and the
others none, whichever trace they are in.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sessionbat.server.records import ReceivedEvent, SessionFilter
from sessionbat.server.store.opening import Store, check, open_store
from sessionbat.server.store.parts import Event, ReceivedPart, SpanKey, Told
from tests.conftest import eventually

APP = "support-bot"
NOON_US = 1_795_456_800_000_000


@dataclass(frozen=True)
class ToyFacts:
    session: str | None = None
    response: str | None = None
    rich: int = 0
    is_event: bool = True

    @property
    def joins(self) -> tuple[str, ...]:
        return (f"response:{self.response}",) if self.response else ()

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class ToyPlace:
    session_id: str
    spans: tuple[str, ...]

    def apply(self, event: Event) -> Event:
        observation = event["observation"]
        metadata = {**observation["metadata"], "spans": [*self.spans]}
        return {
            **event,
            "session_id": self.session_id,
            "observation": {**observation, "metadata": metadata},
        }


class ToyRules:
    def read(self, data: bytes) -> ToyFacts:
        return ToyFacts(**json.loads(data))

    def write(self, facts: ToyFacts) -> bytes:
        return facts.to_json()

    def join(self, key: SpanKey, earlier: Told, later: Told) -> Told:
        one, other = sorted((earlier, later), key=lambda told: told.facts.to_json())
        facts = ToyFacts(
            max((each.facts.session for each in (one, other) if each.facts.session), default=None),
            one.facts.response or other.facts.response,
            max(one.facts.rich, other.facts.rich),
            one.facts.is_event or other.facts.is_event,
        )
        events = [each.event for each in (earlier, later) if each.event]
        if len(events) < 2:
            return Told(facts, events[0] if events else None)
        outputs = sorted({*events[0]["observation"]["output"], *events[1]["observation"]["output"]})
        first = min(events, key=lambda event: json.dumps(event["observation"]["input"]))
        return Told(facts, {**first, "observation": {**first["observation"], "output": outputs}})

    def place(self, parts: Mapping[SpanKey, ToyFacts]) -> dict[SpanKey, ToyPlace]:
        sessions: dict[str, str] = {}
        for key, facts in sorted(parts.items()):
            named = sessions.get(key.trace)
            if facts.session and (named is None or facts.session < named):
                sessions[key.trace] = facts.session
        calls: dict[Any, list[tuple[SpanKey, ToyFacts]]] = {}
        for key, facts in parts.items():
            if facts.is_event:
                calls.setdefault(facts.response or key, []).append((key, facts))
        places = {}
        for those in calls.values():
            key, _ = max(those, key=lambda each: (each[1].rich, each[0]))
            named = min(
                (sessions[k.trace] for k, _ in those if k.trace in sessions), default=key.trace
            )
            places[key] = ToyPlace(named, tuple(sorted(k.span for k, _ in those)))
        return places

    def unplaced(self, event: Event) -> Event:
        observation = event["observation"]
        metadata = {key: said for key, said in observation["metadata"].items() if key != "spans"}
        return {**event, "session_id": "", "observation": {**observation, "metadata": metadata}}

    def fingerprint(self, place: ToyPlace) -> bytes:
        return repr(place).encode()


RULES = ToyRules()


def part(
    span: str,
    trace: str = "t1",
    session: str | None = None,
    *,
    response: str | None = None,
    rich: int = 1,
    kind: str = "llm",
    words: str = "",
    messages: int = 0,
    output: Sequence[str] = (),
    user: str = "ann",
    is_event: bool = True,
    has_content: bool = True,
    minute: int = 0,
    failed: bool = False,
    estimated: bool = False,
    app: str = APP,
) -> ReceivedPart:
    metrics = {"latency_ms": 10 * rich, "input_tokens": 200, "output_tokens": 10}
    asked = [{"role": "user", "content": f"message {n} of {trace}"} for n in range(messages)]
    event = {
        "type": kind,
        "id": f"{trace}-{span}",
        "created_at": (datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=minute)).isoformat(),
        "app": app,
        "session_id": "",
        "interaction_id": f"turn-{trace}",
        "tags": [f"tag-{span}"],
        "context": {"user_id": user},
        "observation": {
            "kind": kind,
            "name": f"tool-{span}" if kind == "tool" else None,
            "input": {"messages": asked} if asked else {"query": words or f"word{span}"},
            "output": [f"said {span}", *output],
            "error": {"type": "Timeout"} if failed else None,
            "metadata": {"model": "gpt-5.4-mini" if estimated else f"model-{rich}"},
            "metrics": metrics if estimated else {**metrics, "cost_usd": 0.1},
        },
    }
    facts = ToyFacts(session, response, rich, is_event)
    content = event if has_content and is_event else None
    return ReceivedPart(app, SpanKey(trace, span), facts, content, NOON_US + minute, RULES)


def sessions(store: Store) -> dict[str, list[str]]:
    """Say which events are in which sessions."""
    found = {}
    for item in store.list_sessions(limit=1000).items:
        events = store.list_events(item.app, item.session_id, limit=1000).items
        found[item.session_id] = sorted(event.id for event in events)
        assert len(found[item.session_id]) == item.observations
    return found


def answers(store: Store) -> dict[str, Any]:
    """Everything a store says, without the order in which things were received."""
    eventually(lambda: store.measure().events_behind == 0)
    listed = store.list_sessions(limit=100).items
    day = datetime(2026, 11, 22, tzinfo=UTC)
    span = {"since": day, "until": day + timedelta(days=2), "by": "hour"}
    words = ["message", "said", *(f"words{n}" for n in range(14))]
    labels: list[dict[str, Any]] = [
        *({"tag": f"tag-s{n}"} for n in range(14)),
        *({"tool": f"tool-s{n}"} for n in range(14)),
        *({"model": f"model-{n}"} for n in range(4)),
        {"model": "gpt-5.4-mini"},
        {"context": (("user_id", "ann"),)},
        {"context": (("user_id", "bob"),)},
        {"error_type": "Timeout"},
        {"kind": "tool"},
    ]
    return {
        "sessions": sorted(map(str, listed)),
        "events": {
            s.session_id: sorted(e.raw for e in store.list_events(s.app, s.session_id).items)
            for s in listed
        },
        "found": {
            word: sorted((h.session_id, h.id) for h in store.search(word, limit=1000).items)
            for word in words
        },
        "filtered": [
            sorted(s.session_id for s in store.list_sessions(where=SessionFilter(**each)).items)
            for each in labels
        ],
        "statistics": [
            [*map(str, store.statistics(**span, group=group))] for group in (None, "model", "tool")
        ],
    }


def assert_as_of_final_events_only(url: str, store: Store, path: Path) -> None:
    fresh = open_store(f"sqlite:///{path}")
    for each in store.list_received(limit=1000).items:
        fresh.append([ReceivedEvent(each.raw, each.event, received_at_us(url, each.id))])
    assert answers(store) == answers(fresh)
    fresh.close()
    bad = [finding for finding in check(url) if not finding.is_well]
    assert bad == []
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert (
            connection.execute("SELECT coalesce(sum(bytes), 0) FROM apps").fetchone()
            == connection.execute(
                "SELECT (SELECT coalesce(sum(length(data)), 0) FROM payloads)"
                " + (SELECT coalesce(sum(length(data)), 0) FROM messages)"
            ).fetchone()
        )
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute(
            "SELECT count(*) FROM labels WHERE sessions <>"
            " (SELECT count(*) FROM session_labels WHERE label = labels.id)"
        ).fetchone() == (0,)
        connection.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")


def received_at_us(url: str, event_id: str) -> int:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        (at,) = connection.execute(
            "SELECT received_at_us FROM events WHERE event_id = ?", (event_id,)
        ).fetchone()
    return int(at)
