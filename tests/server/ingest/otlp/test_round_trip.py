"""Events that go out as spans are stored by a server as those that went there directly."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sessionbat import Interaction, SessionBat
from sessionbat.event import EncodedEvent
from sessionbat.testing import Answer, Request
from sessionbat.transports import IngestionTransport, MemoryTransport, OTLPTransport
from tests.cli.command import run, serving
from tests.server.ingest.otlp.forwarding import count_of, forwarding
from tests.server.wire import PATH, Wire

APP, BESIDE = "support-bot", "beside"
SESSIONS = ["thread_42", " spaces around ", "größe/…?#&", "s" * 1024]

Record = Callable[[Interaction], Any]


class Both:
    """Sends each event as a span, and directly under another app."""

    def __init__(self, spans: OTLPTransport, direct: IngestionTransport) -> None:
        self.spans, self.direct = spans, direct

    def send(self, event: EncodedEvent) -> None:
        self.spans.send(event)
        mine, other = (f'"app":"{app}"'.encode() for app in (APP, BESIDE))
        assert event.data.count(mine) == 1
        self.direct.send(EncodedEvent(event.id, event.data.replace(mine, other)))

    def flush(self, timeout: float | None = 30.0) -> None:
        assert self.spans.flush(timeout)
        assert self.direct.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> None:
        assert self.spans.close(timeout)
        assert self.direct.close(timeout)


def record_a_session(client: SessionBat, session_id: str) -> None:
    """Record what the API has, every way once."""
    context = {"user_id": "user_7", "workspace_id": "ws_1", "release": "1.2", "plan": {"a": [1]}}
    session = client.session(session_id=session_id, tags=["vip"], context=context)
    first = session.interaction(interaction_id="turn 1", context={"n": 1})
    documents = [{"id": "doc", "title": "Reset", "score": 0.93, "content": "é\n" * 9, "own": None}]
    found = first.retrieval(
        query="reset password", documents=documents, metadata={"index": "help", "top_k": 3},
        metrics={"latency_ms": 81, "documents_found": 1}, started_at=1_790_000_000.123456,
    )  # fmt: skip
    first.tool_call(
        tool_name="lookup", input={"id": 9, "password": "hunter2"}, output={"ok": True},
        metadata={"parent_observation_id": found, "step": 3, "agent": "helper", "node": "n"},
        metrics={"latency_ms": 117.25, "http_status": 200}, tags=["slow"],
    )  # fmt: skip
    first.tool_call(tool_name="lookup", input={}, error=TimeoutError("no answer"))
    first.llm(
        model="gpt-5.4-mini", input={"messages": [{"role": "user", "content": "I am locked out"}]},
        output={"text": "Use the link."}, observation_id="my own id",
        metadata={"provider": "openai", "response_id": "resp_1", "finish_reason": "stop",
                  "parameters": {"temperature": 1, "seed": 7}, "attempt": 2},
        metrics={"latency_ms": 820, "time_to_first_token_ms": 120, "input_tokens": 120,
                 "output_tokens": 18, "total_tokens": 138, "cache_read_tokens": 64,
                 "reasoning_tokens": 6, "cost_usd": 0.0125},
        started_at=datetime(2026, 11, 22, 16, 0, 0, 123, UTC),
    )  # fmt: skip
    # The same call once more: by its response id it would be one with the call above.
    first.llm(model="gpt-5.4-mini", metadata={"response_id": "resp_1"}, error="rate limit")
    first.feedback(score=1, label="thumbs_up", comment="Thanks", observation_id="my own id")
    second = session.interaction(interaction_id="turn 2")
    with second.measure_llm(model="m", input="Hi") as call:
        call.output = "Hello"
        call.metrics["input_tokens"] = 2
    second.llm(input="vector", output=[0.5, 1.0, -1], metadata={"operation": "embeddings"})
    second.feedback(score=0.5, source="reviewer")
    session.feedback(label="thumbs_down")
    session.outcome("helped", reason="ticket closed")


ODD: dict[str, Record] = {
    "numbers": lambda turn: turn.llm(
        input=[2**64 - 1, -(2**63), 2**80, 1.0, 1, 1e300, 5e-324, float("nan"), Decimal("1.10")],
        metrics={"latency_ms": 1.0, "cost_usd": 1e-9, "big": 2**53 + 1, "none": float("inf")},
    ),
    "texts": lambda turn: turn.llm(
        input="\x00\ud800\u2028\U0001f987 \\u0000", output=["", " ", "7", "null", "{", '{"a": 1}']
    ),
    "bytes": lambda turn: turn.llm(input=[b"\xff" * 9, uuid.UUID(int=7)], output=b"x" * 2000),
    "empty": lambda turn: turn.llm(),
    "null and empty": lambda turn: turn.tool_call(tool_name="", input=[], output={}),
    "deep": lambda turn: turn.llm(input=nested(200), output=nested(63)),
    "wide": lambda turn: turn.llm(
        input=list(range(60_000)), output=dict.fromkeys(map(str, range(49_999)))
    ),
    "long": lambda turn: turn.llm(input="é" * 3_000_000, output='"\\' * 100_000),
    "its own names": lambda turn: turn.llm(
        metadata={"sessionbat.id": "x", "trace_id": "0" * 32, "span_id": 7, "span_ids": ["a-b"],
                  "lent_by_other_spans": ["error"], "source": "transcript", "aggregate": True},
        context={"session_from": "trace", "user_id": 7},
    ),
    "a long id": lambda turn: turn.llm(observation_id="~" * 128),
    "an id like a span's": lambda turn: turn.llm(observation_id=f"{'a' * 32}-{'b' * 16}"),
    "long ago": lambda turn: turn.llm(started_at="1969-12-31T23:59:59Z"),
    "far ahead": lambda turn: turn.llm(started_at="9999-12-31T23:59:59.999999Z"),
    "no retrieval": lambda turn: turn.retrieval(query={"a": 1}, documents=None, error={"code": 1}),
    "an error of every field": lambda turn: turn.llm(
        error={"type": "E", "message": "m", "code": 7, "inner": [None]}, metadata={"status": "x"}
    ),
    "a comment of odd letters": lambda turn: turn.feedback(comment="\ud800 \x00 é", score=-0.0),
}  # fmt: skip


def nested(levels: int) -> Any:
    deep: Any = "end"
    for level in range(levels):
        deep = [deep] if level % 2 else {"k": deep}
    return deep


def record_everything(client: SessionBat) -> None:
    for session_id in SESSIONS:
        record_a_session(client, session_id)
    for name, record in ODD.items():
        record(client.session(session_id=name).interaction(interaction_id="i" * 1024))


def of_app(answer: Any, app: str) -> Any:
    """Read an answer as if it were of the one app."""
    return json.loads(json.dumps(answer).replace(f'"app": "{app}"', f'"app": "{APP}"'))


def sessions_of(server: Wire, app: str) -> list[dict[str, Any]]:
    items = server.get("/api/v1/sessions", app=app, limit=1000).json["items"]
    return sorted(of_app(items, app), key=lambda item: str(item["session_id"]))


def stored(server: Wire, session_id: str, app: str) -> list[str]:
    """Give a session's events in their order; as text, in which 1 and 1.0 are not the same."""
    return [json.dumps(of_app(e, app), sort_keys=True) for e in server.stored(session_id, app)]


def compare(server: Wire) -> int:
    """Hold the sessions of both apps against each other; how many events they have."""
    ours, theirs = sessions_of(server, APP), sessions_of(server, BESIDE)
    assert ours == theirs
    count = 0
    for session in ours:
        made, expected = (stored(server, session["session_id"], app) for app in (APP, BESIDE))
        assert made == expected
        count += len(made)
    return count


@pytest.mark.slow
def test_events_sent_as_spans_are_stored_as_those_sent_directly(tmp_path: Path) -> None:
    """With keys, two processes of ``sessionbat serve`` and the SDK, and nothing in between."""
    own, other = (
        run("keys", "create", "--app", a, cwd=tmp_path).stdout.strip() for a in (APP, BESIDE)
    )
    reading = run("keys", "create", "--kind", "read", cwd=tmp_path).stdout.strip()
    with serving("serve", "--port", "0", cwd=tmp_path) as (_, url):
        both = Both(
            OTLPTransport(url, {"Authorization": f"Bearer {own}"}),
            IngestionTransport(endpoint=url + PATH, api_key=other),
        )
        client = SessionBat(
            app=APP, transport=both, mask=["password"], default_tags=["production"],
            default_context={"environment": "prod"},
        )  # fmt: skip
        record_everything(client)
        client.close(30)
        server = Wire(url).with_key(reading)
        assert compare(server) == 11 * len(SESSIONS) + len(ODD)
        assert "hunter2" not in "".join(stored(server, "thread_42", APP))


def spans_only(endpoint: str, record: Callable[[SessionBat], None], **options: Any) -> list[Any]:
    """Send as spans only, until all is taken; gives the events as they were recorded."""
    memory, spans = MemoryTransport(), OTLPTransport(endpoint)

    class Beside:
        def send(self, event: EncodedEvent) -> None:
            memory.send(event)
            spans.send(event)

        def flush(self, timeout: float | None = 30.0) -> None:
            assert spans.flush(timeout)

        close = flush

    client = SessionBat(app=APP, transport=Beside(), **options)
    record(client)
    client.flush(60)
    assert spans.close(60)
    return memory.events


def in_order(events: list[Any]) -> list[str]:
    return sorted(json.dumps(event, sort_keys=True) for event in events)


def assert_stored_once(server: Wire, events: list[Any]) -> None:
    assert events
    found = [
        e for session in sessions_of(server, APP) for e in server.stored(session["session_id"])
    ]
    assert in_order(found) == in_order(events)


def several(client: SessionBat) -> None:
    for session_id in ("a", "b"):
        record_a_session(client, session_id)


def test_events_that_come_in_halves_and_twice_are_stored_once(server: Wire) -> None:
    """The answer to every request of several is 413, though its spans are stored."""
    sizes = list[int]()

    def too_large(request: Request, answer: Answer) -> Answer:
        sizes.append(count_of(request))
        return Answer(413) if sizes[-1] > 1 else answer

    with forwarding(server, too_large) as backend:
        assert_stored_once(server, spans_only(backend.url, several))
    assert max(sizes) > 1 and sum(sizes) > 22


@pytest.mark.parametrize("lost", [Answer(503), Answer(429), Answer(reset=True), Answer(408)])
def test_events_whose_answer_is_lost_are_sent_again_and_stored_once(
    server: Wire, lost: Answer
) -> None:
    seen = set[bytes]()
    counts = list[int]()

    def first_is_lost(request: Request, answer: Answer) -> Answer:
        counts.append(count_of(request))
        if request.body in seen:
            return answer
        seen.add(request.body)
        return lost

    with forwarding(server, first_is_lost) as backend:
        assert_stored_once(server, spans_only(backend.url, several))
    assert sum(counts) >= 2 * 22


def test_a_span_alone_in_its_request_is_placed_as_if_all_had_come_at_once(server: Wire) -> None:
    events = list[Any]()
    with forwarding(server, lambda _, answer: answer) as backend:

        def one_by_one(client: SessionBat) -> None:
            turn = client.session(session_id="a").interaction(interaction_id="1")
            above = turn.llm(model="m", metadata={"response_id": "r"})
            for _ in range(5):
                assert client.flush(20)
                turn.tool_call(tool_name="t", metadata={"parent_observation_id": above})
            turn.feedback(score=1, observation_id=above)

        events += spans_only(backend.url, one_by_one)
        assert len(backend.requests) > 3
    assert_stored_once(server, events)


@pytest.mark.parametrize("kind", ["llm", "tool_call", "retrieval", "feedback"])
def test_an_id_that_several_sessions_have_is_an_event_in_each(server: Wire, kind: str) -> None:
    def record(client: SessionBat) -> None:
        for session_id in ("a", "b", "c"):
            turn = client.session(session_id=session_id).interaction()
            turn.llm(observation_id="1", input=session_id)
            if kind == "feedback":
                turn.feedback(observation_id="1", score=1)
            else:
                getattr(turn, kind)(observation_id="2")
            assert client.flush(20)

    assert_stored_once(server, spans_only(server.url, record))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["x", "é", "{[", "🦇"])
def test_an_event_longer_than_other_json_may_be_is_the_same(server: Wire, text: str) -> None:
    def long(client: SessionBat) -> None:
        payload = {"text": text * (9_000_000 // len(text.encode()))}
        client.session(session_id="a").interaction().tool_call(tool_name="t", output=payload)

    events = spans_only(server.url, long, max_event_bytes=16 * 1024 * 1024)
    assert_stored_once(server, events)
