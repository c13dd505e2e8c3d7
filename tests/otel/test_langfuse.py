"""Events of Langfuse's legacy ingestion, and its scores: each call once, in its session."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat._otel.assembling import assemble
from sessionbat._otel.langfuse_events import event_parts, score_part, traces_in
from sessionbat._otel.parts import Part
from sessionbat.event import find_problem
from tests.otel.making import ORDER, SHIPPED, A, Q
from tests.otel.telling import told
from tests.otel.test_captures import Store


def at(milliseconds: int) -> str:
    return f"2026-11-28T18:20:37.{milliseconds:03d}Z"


def event(type_: str, **body: Any) -> dict[str, Any]:
    return {"id": f"{type_}-{body.get('id')}", "type": type_, "timestamp": at(900), "body": body}


TRACE = event("trace-create", id="t", sessionId="thread_42", userId="user_7", timestamp=at(1))
ASKED = [{"role": "user", "content": Q}]
ANSWERED = {"role": "assistant", "content": A}
USAGE = {"input": 120, "output": 18, "total": 138, "unit": "TOKENS"}
BEGINNING = {
    "traceId": "t",
    "name": "chat",
    "model": "gpt",
    "modelParameters": {"temperature": 0.5},
    "startTime": at(100),
    "input": ASKED,
}
END = {"endTime": at(200), "completionStartTime": at(130), "output": ANSWERED, "usage": USAGE}
CREATED = event("generation-create", id="g", **BEGINNING)
UPDATED = event("generation-update", id="g", traceId="t", **END)
WHOLE = event("generation-create", id="g", **BEGINNING, **END)


def parts(*batch: dict[str, Any]) -> list[Part]:
    traces = traces_in(batch)
    return [part for each in batch for part in event_parts(each, traces) or ()]


def events(*batch: dict[str, Any]) -> list[dict[str, Any]]:
    return assemble(parts(*batch))


@pytest.mark.parametrize("order", [*itertools.permutations([TRACE, CREATED, UPDATED])])
def test_a_generation_created_and_updated_is_one_call(order: Any) -> None:
    found = events(*order)
    assert told(found) == [
        {
            "is": "llm",
            "turn": 1,
            "session": "thread_42",
            "user": "user_7",
            "tokens": "120/18/-/-",
            "streamed": True,
            "asked": Q,
            "said": A,
        }
    ]
    assert found == events(TRACE, WHOLE)
    observation = found[0]["observation"]
    assert observation["metrics"]["latency_ms"] == 100
    assert observation["metrics"]["time_to_first_token_ms"] == 30
    assert observation["metadata"]["parameters"] == {"temperature": 0.5}
    assert "status" not in observation["metadata"]


@pytest.mark.parametrize("seed", range(4))
def test_each_event_alone_through_a_store_gives_the_same(seed: int) -> None:
    score = event("score-create", id="s", traceId="t", observationId="g", name="good", value=1)
    tool = event("tool-create", id="o", traceId="t", startTime=at(300), endTime=at(400), name="x")
    made = parts(TRACE, CREATED, UPDATED, tool, score)
    random.Random(seed).shuffle(made)
    store = Store()
    for part in [*made, *made]:
        store.receive([part])
    found = sorted(store.events(), key=lambda each: str(each["id"]))
    assert found == sorted(assemble(made), key=lambda each: str(each["id"]))
    assert {each["session_id"] for each in found} == {"thread_42"}


def test_an_update_that_leaves_out_its_trace_finds_it_in_the_batch() -> None:
    update = event("generation-update", id="g", **END)
    assert events(TRACE, update, CREATED) == events(TRACE, CREATED, UPDATED)


def test_a_generation_whose_end_never_comes_says_so() -> None:
    (found,) = events(TRACE, CREATED)
    assert found["observation"]["metadata"]["status"] == "unfinished"


TYPES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "generation-create": (
        {"input": ASKED, "output": ANSWERED},
        {"is": "llm", "asked": Q, "said": A},
    ),
    "tool-create": (
        {"name": "get_order", "input": ORDER, "output": SHIPPED},
        {"is": "tool", "name": "get_order", "input": ORDER, "output": SHIPPED},
    ),
    "retriever-create": (
        {"input": Q, "output": [{"id": "d1"}]},
        {"is": "retrieval", "query": Q, "documents": [{"id": "d1"}]},
    ),
    "embedding-create": ({"input": "a"}, {"is": "llm embeddings", "texts": ["a"]}),
    "span-create": ({"input": ORDER}, None),
    "event-create": ({"name": "clicked"}, None),
    "agent-create": ({}, None),
    "chain-create": ({}, None),
    "guardrail-create": ({}, None),
    "evaluator-create": ({}, None),
}


@pytest.mark.parametrize("type_", TYPES)
def test_each_type_of_observation_is_read(type_: str) -> None:
    body, wanted = TYPES[type_]
    more = {"id": "o", "traceId": "t", "startTime": at(1), "endTime": at(2), **body}
    spelt = event("observation-create", **more, type=type_.removesuffix("-create").upper())
    for each in (event(type_, **more), spelt):
        found = [
            {key: said for key, said in row.items() if key not in ("turn", "session")}
            for row in told(events(each))
        ]
        assert found == ([wanted] if wanted else [])


FIGURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tokens": ({"usage": USAGE}, {"input_tokens": 120, "output_tokens": 18, "total_tokens": 138}),
    "as OpenAI writes them": (
        {"usage": {"promptTokens": 120, "completionTokens": 18, "totalTokens": 138}},
        {"input_tokens": 120, "output_tokens": 18, "total_tokens": 138},
    ),
    "as LiteLLM writes them": (
        {"usage": {"prompt_tokens": 120, "completion_tokens": 18, "total_cost": 0.5}},
        {"input_tokens": 120, "output_tokens": 18, "cost_usd": 0.5},
    ),
    "details whose parts are disjoint": (
        {"usageDetails": {"input": 56, "input_cache_read": 64, "output": 18, "total": 138}},
        {"input_tokens": 120, "output_tokens": 18, "total_tokens": 138, "cache_read_tokens": 64},
    ),
    "costs": ({"costDetails": {"input": 0.25, "output": 0.5}}, {"cost_usd": 0.75}),
    "a cost beside its tokens": (
        {"usage": {"input": 1, "output": 2, "totalCost": 0.25}},
        {"input_tokens": 1, "output_tokens": 2, "cost_usd": 0.25},
    ),
    "characters": ({"usage": {"input": 120, "output": 18, "unit": "CHARACTERS"}}, {}),
    "seconds": ({"usage": {"input": 120, "unit": "SECONDS"}}, {}),
    "nothing": ({"usage": None, "usageDetails": {}, "costDetails": None}, {}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_read_in_each_form(name: str) -> None:
    body, wanted = FIGURES[name]
    (found,) = events(event("generation-create", id="g", traceId="t", endTime=at(1), **body))
    assert found["observation"]["metrics"] == wanted


@pytest.mark.parametrize(
    ("level", "message", "error"),
    [
        ("ERROR", "TimeoutError: slow", {"type": "TimeoutError", "message": "slow"}),
        ("ERROR", "no luck", {"type": "Error", "message": "no luck"}),
        ("ERROR", None, {"type": "Error", "message": ""}),
        ("WARNING", "late", None),
        ("DEFAULT", None, None),
    ],
)
def test_the_level_error_is_an_error(level: str, message: str | None, error: Any) -> None:
    body = {"id": "g", "traceId": "t", "endTime": at(1), "level": level, "statusMessage": message}
    (found,) = events(event("generation-create", **body))
    assert found["observation"]["error"] == error


def test_a_trace_told_of_twice_gives_its_session_to_what_came_before() -> None:
    first = event("trace-create", id="t", name="turn")
    again = event("trace-create", id="t", sessionId="thread_42")
    for order in itertools.permutations([first, again, WHOLE]):
        (found,) = events(*order)
        assert found["session_id"] == "thread_42"
        assert found["interaction_id"] == "t"


# Scores

SCORES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a number": ({"value": 0.5}, 0.5, "q"),
    "nought": ({"value": 0}, 0, "q"),
    "a truth": ({"value": 1, "dataType": "BOOLEAN"}, 1, "q"),
    "a word": ({"value": "good", "dataType": "CATEGORICAL"}, None, "q: good"),
    "a word that looks like a number": ({"value": "5"}, None, "q: 5"),
    "nothing": ({"value": None}, None, "q"),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_feedback(name: str) -> None:
    body, score, label = SCORES[name]
    given = event("score-create", id="s", traceId="t", name="q", comment="c", **body)
    (found,) = (each for each in events(TRACE, WHOLE, given) if each["type"] == "feedback")
    said = found["feedback"]
    assert (said["score"], said["label"], said["comment"]) == (score, label, "c")
    assert (found["session_id"], found["interaction_id"]) == ("thread_42", "t")
    assert said["observation_id"] is None


def test_a_score_of_a_session_is_of_no_turn() -> None:
    part = score_part({"id": "s", "sessionId": "thread_42", "name": "q", "value": 1})
    assert part is not None
    (found,) = assemble([part])
    assert (found["session_id"], found["interaction_id"]) == ("thread_42", None)
    assert "session_from" not in found["context"]


@pytest.mark.parametrize("body", [{}, {"value": 1}, {"traceId": ""}, {"datasetRunId": "d"}])
def test_a_score_of_nothing_is_refused(body: dict[str, Any]) -> None:
    assert score_part(body) is None
    assert event_parts(event("score-create", **body)) is None


# Whatever is sent


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"type": "trace-create"},
        {"type": "trace-create", "body": []},
        event("trace-create"),
        event("trace-create", id=None),
        event("generation-create", traceId="t"),
        event("generation-delete", id="g"),
        event("dataset-create", id="g"),
        event("observation-create", id="g"),
        event("observation-create", id="g", type=["GENERATION"]),
    ],
)
def test_what_is_no_event_is_none(given: dict[str, Any]) -> None:
    assert event_parts(given) is None


def test_a_log_of_the_sdk_is_taken_and_dropped() -> None:
    assert event_parts(event("sdk-log", log={"anything": 1})) == ()


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["t", "g", at(5), "ERROR", "GENERATION", "\ud800", "[]", "TOKENS"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["input", "total", "unit", "role"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_keys = ("traceId", "parentObservationId", "name", "startTime", "endTime", "input", "output")
_more = ("usage", "usageDetails", "costDetails", "level", "statusMessage", "model", "metadata")
_last = ("modelParameters", "completionStartTime", "sessionId", "tags", "type", "value", "comment")
_bodies = st.fixed_dictionaries(
    {"id": st.sampled_from(["t", "g", "o"])},
    optional=dict.fromkeys((*_keys, *_more, *_last), _anything),
)
_types = st.sampled_from(
    [
        *("trace-create", "generation-create", "generation-update", "span-create", "tool-create"),
        *("observation-create", "score-create", "event-create", "embedding-update"),
    ]
)
_events = st.fixed_dictionaries({"type": _types, "body": _bodies, "timestamp": _anything})


@settings(max_examples=300, deadline=None)
@given(st.lists(_events, max_size=5), st.randoms())
def test_hostile_events_raise_nothing_and_make_events_in_any_order(
    batch: list[Any], order: random.Random
) -> None:
    made = parts(*batch)
    found = assemble(made)
    json.dumps(found, allow_nan=False).encode()
    assert not [each for each in found if find_problem({**each, "app": "a"})]
    order.shuffle(made)
    assert assemble(made) == found
