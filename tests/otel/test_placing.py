"""Where parts belong: sessions, turns, duplicates, sums, agents; and events placed anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat._otel.assembling import assemble
from sessionbat._otel.content_switches import switch_for
from sessionbat._otel.joining import join
from sessionbat._otel.mapping import map_log, map_span
from sessionbat._otel.model import LogRecord, Scope, Span
from sessionbat._otel.parts import Facts, Place
from sessionbat._otel.placing import place
from tests.otel.making import (
    ANSWERED,
    ASKED,
    ORDER,
    SHIPPED,
    START,
    Q,
    events,
    genai,
    happened,
    span,
)

RESPONSE = {"gen_ai.response.id": "r-1"}


def metadata(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = event["observation"]["metadata"]
    return found


def agent(name: str = "root", **more: Any) -> Span:
    said = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
    return span(name, took=9, attributes={**said, **more.pop("attributes", {})}, **more)


def tool(name: str, parent: str | None = None, **attributes: Any) -> Span:
    said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_order", **attributes}
    return span(name, parent_id=parent, attributes=said)


# Sessions


def test_a_session_on_any_span_holds_for_its_whole_trace() -> None:
    found = events(
        agent(),
        genai("a", parent_id="root", attributes={"session.id": "s-1", "user.id": "u-1"}),
        genai("b", 2, parent_id="root"),
    )
    assert {event["session_id"] for event in found} == {"s-1"}
    assert {event["context"].get("user_id") for event in found} == {"u-1"}


def test_of_two_sessions_in_one_trace_the_nearest_around_counts() -> None:
    found = events(
        agent(attributes={"session.id": "outer"}),
        agent("inner", parent_id="root", attributes={"session.id": "inner"}),
        genai("a", parent_id="root"),
        genai("b", 2, parent_id="inner"),
    )
    assert [event["session_id"] for event in found] == ["outer", "inner"]


def test_a_session_that_comes_late_re_homes_what_is_stored() -> None:
    early = map_span(genai("a", parent_id="root"))[0]
    late = map_span(agent(attributes={"session.id": "s-1"}))[0]
    assert early.event is not None
    stored = place({early.key: early.facts})[early.key].apply(early.event)
    assert stored["context"]["session_from"] == "trace"
    moved = place({early.key: early.facts, late.key: late.facts})[early.key].apply(stored)
    assert moved["session_id"] == "s-1"
    assert "session_from" not in moved["context"]
    assert metadata(moved)["agent"] == "support"


# Turns


@pytest.mark.parametrize(
    ("first", "second", "is_one_turn"),
    [
        ([Q], [Q], True),
        ([Q], ["Another question"], False),
        ([Q], [Q, Q], False),
        ([Q, "Thanks"], [Q, "Thanks"], True),
    ],
)
def test_traces_of_one_span_are_a_turn_by_what_the_user_said_last(
    first: list[str], second: list[str], is_one_turn: bool
) -> None:
    def call(name: str, said: list[str]) -> Span:
        asked = json.dumps([{"role": "user", "content": each} for each in said])
        return genai(
            name, trace_id=name, attributes={"gen_ai.input.messages": asked, "session.id": "s"}
        )

    one, other = events(call("a", first), call("b", second))
    assert (one["interaction_id"] == other["interaction_id"]) is is_one_turn


def test_under_a_root_the_trace_is_the_turn_also_when_the_root_never_comes() -> None:
    found = events(genai("a", parent_id="lost"), genai("b", 2, parent_id="lost"))
    assert {event["interaction_id"] for event in found} == {"t"}


# One call, told of twice


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        ({}, 1),
        ({"trace_id": "another"}, 1),
        ({"at": 5}, 2),
        ({"at": 1}, 2),
        ({"scope": "one"}, 2),
        ({"attributes": {"gen_ai.response.id": "r-2"}}, 2),
        ({"attributes": {"gen_ai.operation.name": "embeddings"}}, 2),
    ],
    ids=["overlapping", "traces", "later", "touching", "one scope", "another id", "another kind"],
)
def test_the_same_response_id_at_one_time_from_two_scopes_is_one_call(
    change: dict[str, Any], calls: int
) -> None:
    one = genai("a", attributes=RESPONSE, scope="one")
    said = {**RESPONSE, **change.get("attributes", {})}
    other = genai("b", **{"at": 0.25, "scope": "two", **change, "attributes": said})
    assert len(events(one, other)) == calls


def test_without_response_ids_question_and_answer_tell_of_one_call() -> None:
    one, other = genai("a", scope="one"), genai("b", 0.25, scope="two", trace_id="another")
    (event,) = events(one, other)
    assert metadata(event)["span_ids"] == ["another-b", "t-a"]
    elsewhere = json.dumps([{"role": "user", "content": "Another question"}])
    unlike = genai("b", 0.25, scope="two", attributes={"gen_ai.input.messages": elsewhere})
    assert len(events(one, unlike)) == 2


def test_the_richer_record_wins_and_borrows_what_the_poorer_alone_says() -> None:
    rich = genai("outer", attributes={**RESPONSE, "gen_ai.usage.output_tokens": None})
    poor = span(
        "inner",
        0.25,
        0.5,
        parent_id="outer",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.output_tokens": 18,
            "http.response.status_code": 200,
            **RESPONSE,
        },
    )
    (event,) = events(rich, poor)
    assert event["id"] == "t-outer"
    assert event["observation"]["metrics"]["http_status"] == 200
    assert event["observation"]["metrics"]["output_tokens"] == 18
    assert metadata(event)["lent_by_other_spans"] == [
        "metrics.http_status",
        "metrics.output_tokens",
    ]
    assert metadata(event)["span_ids"] == ["t-inner", "t-outer"]


@pytest.mark.parametrize(
    "first",
    [
        Place("s", "i", metrics={"http_status": 400.0}, about={"provider": "p"}, error_type="E"),
        Place("s", "i", parent="p", agent="a", node="n", span_ids=("x", "y"), user="u"),
        Place("s", "i", session_from="trace", times=("2026-11-29T00:00:00.000000Z", None)),
    ],
)
def test_nothing_of_an_earlier_place_is_left(first: Place) -> None:
    event = {**(map_span(genai())[0].event or {}), "created_at": None}
    event["observation"] = {**event["observation"], "started_at": None}
    later = Place("later", None, agent="b")
    assert first.apply(event) != later.apply(event)
    assert later.apply(first.apply(event)) == later.apply(event)


def test_a_call_around_several_calls_is_their_sum_and_no_event() -> None:
    found = events(
        genai("around"), genai("a", parent_id="around"), genai("b", 2, parent_id="around")
    )
    assert [event["id"] for event in found] == ["t-a", "t-b"]


@pytest.mark.parametrize("between", ["execute_tool", "invoke_agent"])
def test_a_call_within_a_tool_or_agent_within_a_call_is_another_call(between: str) -> None:
    said = {"gen_ai.operation.name": between, "gen_ai.tool.name": "ask"}
    found = events(
        genai("outer"),
        span("between", parent_id="outer", attributes=said),
        genai("inner", parent_id="between"),
    )
    assert {event["id"] for event in found} >= {"t-outer", "t-inner"}


def test_nested_spans_of_one_tool_are_one_event_with_the_error_of_any() -> None:
    outer = tool("client", **{"gen_ai.tool.call.arguments": "{}"})
    inner = Span(
        **{
            **{name: getattr(tool("server", "client"), name) for name in Span.__dataclass_fields__},
            "status": "error",
        }
    )
    (event,) = events(outer, inner)
    assert event["observation"]["error"] == {"type": "Error", "message": ""}
    assert "error" in metadata(event)["lent_by_other_spans"]
    assert metadata(event)["span_ids"] == ["t-client", "t-server"]


def test_a_tool_that_calls_another_tool_is_two_events() -> None:
    other = tool("b", "a", **{"gen_ai.tool.name": "another"})
    assert len(events(tool("a"), other)) == 2


# Agents and their sums


def test_an_event_names_its_agent_and_the_span_in_which_it_happened() -> None:
    found = events(agent(), tool("a", "root"), genai("b", 2, parent_id="a"))
    assert [metadata(event)["agent"] for event in found] == ["support", "support"]
    assert [metadata(event)["parent_observation_id"] for event in found] == ["t-root", "t-a"]


@pytest.mark.parametrize(
    ("within", "is_event"), [([], True), (["tool"], True), (["call"], False), (["embed"], True)]
)
def test_an_agents_tokens_count_only_where_no_call_was_sent(
    within: list[str], is_event: bool
) -> None:
    sums = agent(attributes={"gen_ai.usage.input_tokens": 240, "gen_ai.usage.output_tokens": 36})
    made = {
        "tool": tool("a", "root"),
        "call": genai("b", parent_id="root"),
        "embed": genai("c", parent_id="root", attributes={"gen_ai.operation.name": "embeddings"}),
    }
    found = events(sums, *(made[each] for each in within))
    aggregates = [event for event in found if metadata(event).get("aggregate") is True]
    assert bool(aggregates) is is_event
    if is_event:
        assert aggregates[0]["observation"]["metrics"]["input_tokens"] == 240


# Tools that are known only from the next request


def requests(*, trace: str = "t", at: float = 0, parent: str | None = "root") -> list[Span]:
    """Make a request that asks for a tool, and the one that brings its result."""
    call = {"id": "call_1", "type": "function"}
    call["function"] = {"name": "get_order", "arguments": json.dumps(ORDER)}  # type: ignore[assignment]
    asked = [{"role": "user", "content": Q}]
    called = {"role": "assistant", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(SHIPPED)}

    def request(name: str, after: float, messages: list[Any]) -> Span:
        return genai(
            f"{name}{trace}",
            at + after,
            trace_id=trace if parent else f"{name}{trace}",
            parent_id=parent,
            attributes={"gen_ai.input.messages": json.dumps(messages)},
        )

    return [
        request("first", 0, asked),
        request("second", 2, [*asked, called, result]),
        request("third", 4, [*asked, called, result, {"role": "assistant", "content": "…"}]),
    ]


def transcript_tools(*spans: Span) -> list[dict[str, Any]]:
    return [event for event in events(*spans) if metadata(event).get("source") == "transcript"]


@pytest.mark.parametrize("parent", ["root", None])
def test_a_tool_call_in_later_requests_is_one_event_before_the_first_of_them(
    parent: str | None,
) -> None:
    made = requests(parent=parent)
    (event,) = transcript_tools(*made)
    assert event["observation"]["name"] == "get_order"
    assert (event["observation"]["input"], event["observation"]["output"]) == (ORDER, SHIPPED)
    assert "latency_ms" not in event["observation"]["metrics"]
    assert transcript_tools(*reversed(made), *made) == [event]


def test_the_same_call_in_two_turns_is_two_events() -> None:
    assert len(transcript_tools(*requests(), *requests(trace="u", at=60))) == 2


@pytest.mark.parametrize(
    "real", [{}, {"gen_ai.tool.name": "x", "gen_ai.tool.call.id": "call_1"}], ids=["name", "id"]
)
def test_a_span_that_tells_of_the_tool_makes_the_transcript_needless(real: dict[str, str]) -> None:
    assert transcript_tools(*requests(), tool("real", "root", **real)) == []
    other = {"gen_ai.tool.name": "x", "gen_ai.tool.call.id": "call_2"}
    assert len(transcript_tools(*requests(), tool("real", "root", **other))) == 1


def test_calls_of_earlier_turns_in_the_history_make_no_tools() -> None:
    history = json.loads(requests()[1].attributes["gen_ai.input.messages"])
    asked = json.dumps([*history, {"role": "user", "content": "Thanks"}])
    assert transcript_tools(genai(attributes={"gen_ai.input.messages": asked})) == []


# Log records


def log(name: str, body: Any, at: int = 1) -> LogRecord:
    scope = Scope("opentelemetry.instrumentation.openai_v2")
    return LogRecord("t", "chat", name, START + at, {}, body, scope)


def test_messages_that_come_as_logs_stand_in_the_order_of_their_time() -> None:
    silent = span(attributes={"gen_ai.operation.name": "chat"})
    records = [
        log("gen_ai.choice", {"message": {"role": "assistant", "content": "Friday"}}, 9),
        log("gen_ai.user.message", {"content": Q}, 2),
        log("gen_ai.system.message", {"content": "Be brief."}, 1),
    ]
    parts = [part for each in records for part in map_log(each)]
    (event,) = assemble([*parts, *map_span(silent), *reversed(parts)])
    assert [each["role"] for each in event["observation"]["input"]["messages"]] == [
        "system",
        "user",
    ]
    assert event["observation"]["output"]["messages"][0]["content"] == "Friday"


def test_log_records_of_a_span_that_never_comes_are_no_event() -> None:
    assert assemble(map_log(log("gen_ai.user.message", {"content": Q}))) == []


@pytest.mark.parametrize("name", ["", "app.started", "gen_ai.evaluation.result"])
def test_other_log_records_are_nothing(name: str) -> None:
    assert map_log(log(name, "hello")) == ()


def test_a_whole_call_in_a_log_record_completes_its_span() -> None:
    silent = span(attributes={"gen_ai.operation.name": "chat"}, scope="gcp.vertex.agent")
    said = {"gen_ai.input.messages": ASKED, "gen_ai.output.messages": ANSWERED}
    record = LogRecord("t", "chat", "gen_ai.client.inference.operation.details", START, said)
    (before,) = events(silent)
    assert metadata(before)["content"] == "off"
    for parts in ([silent_part(silent), *map_log(record)], [*map_log(record), silent_part(silent)]):
        (event,) = assemble(parts)
        assert "content" not in metadata(event)
        assert event["observation"]["input"]["messages"]


def silent_part(silent: Span) -> Any:
    return map_span(silent)[0]


# A run's start and end


def test_a_run_and_its_end_become_one_in_either_order() -> None:
    begun = genai(attributes={"gen_ai.output.messages": None}, took=0, end_ns=None)
    ended = genai(attributes={"session.id": "s-1"})
    one, other = map_span(begun)[0], map_span(ended)[0]
    joined = join(one, other)
    assert joined == join(other, one) == join(joined, one)
    (event,) = assemble([one, other])
    assert event["session_id"] == "s-1"
    assert event["observation"]["output"] is not None
    assert event["observation"]["metrics"]["latency_ms"] == 1000


def test_facts_of_a_later_version_are_read() -> None:
    facts = map_span(genai(attributes=RESPONSE))[0].facts
    written = json.loads(facts.to_json())
    assert Facts.from_json(json.dumps({**written, "new": 1}).encode()) == facts
    assert "response:r-1" in facts.joins


def test_facts_hold_no_content() -> None:
    for part in map_span(genai(events=[happened("x")])) + tuple(map_span(requests()[1])):
        assert Q.encode() not in part.facts.to_json()
        assert b"shipped" not in part.facts.to_json()


@pytest.mark.parametrize(
    ("scope", "word"),
    [
        ("opentelemetry.instrumentation.genai.openai", "CAPTURE_MESSAGE_CONTENT"),
        ("com.anthropic.sdk.python", "ANTHROPIC_OPEN_TELEMETRY"),
        ("agent_framework", "enable_sensitive_data"),
        ("opentelemetry.instrumentation.anthropic", "TRACELOOP_TRACE_CONTENT"),
        ("gcp.vertex.agent", "SPAN_ONLY"),
    ],
)
def test_a_scope_has_a_switch_for_content(scope: str, word: str) -> None:
    assert word in (switch_for(scope) or "")


@pytest.mark.parametrize("scope", ["", "my.own.code", "aiohttp"])
def test_a_scope_that_is_not_known_has_none(scope: str) -> None:
    assert switch_for(scope) is None
