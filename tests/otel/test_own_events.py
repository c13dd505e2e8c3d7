"""An event of SessionBat that went out as a span comes in as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat._otel import names
from sessionbat._otel.model import Span
from sessionbat.transports import MemoryTransport
from tests.otel.making import events, span


def recorded() -> list[dict[str, Any]]:
    transport = MemoryTransport()
    client = SessionBat(app="support-bot", transport=transport, default_tags=["production"])
    session = client.session(session_id="thread_42", context={"user_id": "user_7", "n": 1})
    interaction = session.interaction(interaction_id="turn 1")
    interaction.llm(
        model="m",
        input={"messages": [{"role": "user", "content": "é\n" * 3}]},
        output=["anything", None, {"a": [1.5, True]}],
        metadata={"agent": "mine", "parent_observation_id": "x", "span_ids": [1], "source": "me"},
        metrics={"input_tokens": 1, "cost_usd": 0.25},
    )
    interaction.tool_call(tool_name="t", input={}, output=None, error=ValueError("no"))
    interaction.retrieval(query="q", documents=[{"id": "d"}], observation_id="my own id")
    client.close()
    return list(transport.events)


def out(event: dict[str, Any]) -> Span:
    """Write an event as the output does."""
    apart = {
        "type",
        "id",
        "created_at",
        "app",
        "session_id",
        "interaction_id",
        "observation",
        "feedback",
    }
    said = {
        names.ID: event["id"],
        names.TYPE: event["type"],
        names.APP: event["app"],
        names.SESSION: event["session_id"],
        names.INTERACTION: event["interaction_id"],
        names.CREATED_AT: event["created_at"],
        names.ENVELOPE: json.dumps({k: v for k, v in event.items() if k not in apart}),
        names.OBSERVATION: json.dumps(event["observation"]),
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": event["session_id"],
        "gen_ai.response.id": "r-1",
    }
    if "feedback" in event:
        said[names.FEEDBACK] = json.dumps(event["feedback"])
    return span(event["id"], parent_id="lost", attributes=said)


@pytest.mark.parametrize("which", range(3))
def test_the_round_trip_is_the_identity(which: int) -> None:
    event = recorded()[which]
    assert events(out(event)) == [event]


def test_feedback_and_unknown_kinds_and_fields_are_kept() -> None:
    (event, *_) = recorded()
    for kind in ("feedback", "later"):
        observation = {**event["observation"], "kind": kind, "new": [1]}
        changed = {**event, "type": kind, "observation": observation, "later": {"a": 1}}
        assert events(out(changed)) == [changed]


@pytest.mark.parametrize("feedback", [{"score": 1}, {}, [1], "no"])
@pytest.mark.parametrize("kind", ["llm", "tool", "later"])
def test_an_event_that_has_both_keeps_both(kind: str, feedback: Any) -> None:
    event = {**recorded()[0], "type": kind, "feedback": feedback}
    event["observation"] = {**event["observation"], "kind": kind}
    (made,) = events(out(event))
    assert made == event


def test_feedback_beside_an_observation_is_kept_as_feedback() -> None:
    event = {**recorded()[0], "type": "feedback", "feedback": {"score": 1}}
    event["observation"] = {**event["observation"], "kind": "feedback"}
    assert events(out(event)) == [event]


@pytest.mark.parametrize("broken", ["{", "[]", "7", b"\xff", None, {"a": 1}])
def test_a_broken_observation_is_read_as_any_span(broken: Any) -> None:
    made = out(recorded()[0])
    said = {**made.attributes, names.OBSERVATION: broken, names.TYPE: None}
    (event,) = events(span("s", attributes=said))
    assert event["observation"]["kind"] == "llm"
    assert event["id"] == made.attributes[names.ID]


def test_several_events_of_one_trace_keep_their_own_turns() -> None:
    found = recorded()
    assert sorted(events(*map(out, found)), key=json.dumps) == sorted(found, key=json.dumps)
