"""Whatever is sent: nothing raises, nothing grows without bound, and rules of order hold."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat._otel import attributes, kinds, messages, names, tokens
from sessionbat._otel.assembling import assemble
from sessionbat._otel.joining import join
from sessionbat._otel.mapping import map_log, map_span
from sessionbat._otel.model import LogRecord, Scope, Span, SpanEvent, SpanKey
from sessionbat._otel.parts import Facts, Part
from sessionbat._otel.placing import place
from sessionbat.event import find_problem

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.sampled_from(
        [
            *("llm", "tool", "chat", "execute_tool", "retriever", "LLM", "TOOL", "AGENT", "user"),
            *(
                "{",
                '{"a":',
                "[1, [2",
                "{'a': 1}",
                "[]",
                "{}",
                '""',
                "null",
                "nan",
                "\ud800",
                "1e999",
            ),
            '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
            '[{"role": "user", "content": [{"text": 1}, null, "x"]}, 7]',
            '{"messages": [[{"lc": 1, "id": ["HumanMessage"], "kwargs": {"content": {}}}]]}',
            '[{"role":"tool","tool_call_id":"c","content":"r"},{"role":"assistant","tool_calls":[1]}]',
            '{"choices": [{"message": {"role": "assistant", "tool_calls": {"a": 1}}}]}',
            '{"input": "x", "output": -1, "total": true, "input_cache_read": "7"}',
        ]
    ),
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_lowercase, max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def _known_names() -> list[str]:
    """Every name that a table of the mapper holds."""
    found = {name for metric in tokens._NAMES.values() for name in metric}
    found |= set(kinds._TABLES)
    found |= {value for key, value in vars(names).items() if key.isupper()}
    for table in ("_ASKED", "_ASKED_WHOLE", "_ASKED_LAST", "_ANSWERED_WHOLE", "_ANSWERED_LAST"):
        found |= set(getattr(messages, table))
    for tree in attributes.TREES:
        found |= {f"{tree}.0.message.role", f"{tree}.1.message.content", f"{tree}.0", tree}
        found |= {f"{tree}.0.message.tool_calls.0.tool_call.function.name", f"{tree}.session_id"}
        found |= {f"{tree}.0.document.metadata", f"{tree}.2.message.contents.0"}
    found |= {"gen_ai.output.messages", "gen_ai.system_instructions", "session.id", "error.type"}
    found |= {"gen_ai.tool.name", "gen_ai.tool.call.result", "retrieval.documents.0", "metadata"}
    return sorted(found)


_names = st.one_of(st.sampled_from(_known_names()), st.text(max_size=10))
_attributes = st.dictionaries(_names, _values, max_size=10)
_ids = st.sampled_from(["a", "b", "c", "d", "e", ""])
_times = st.one_of(st.none(), st.integers(-5, 40), st.integers(-(2**64), 2**64))
_event_names = st.sampled_from(
    [
        *("exception", "gen_ai.choice", "gen_ai.user.message", "gen_ai.tool.message"),
        *("gen_ai.client.inference.operation.details", "gen_ai.content.prompt", "other"),
    ]
)
_scopes = st.builds(
    Scope, st.sampled_from(["x", "openinference.instrumentation.y", ""]), st.text(max_size=3)
)
_spans = st.builds(
    Span,
    trace_id=st.sampled_from(["t1", "t2", "\n"]),
    span_id=_ids,
    parent_id=st.one_of(st.none(), _ids),
    name=st.text(max_size=10),
    start_ns=_times,
    end_ns=_times,
    status=st.sampled_from(["unset", "ok", "error"]),
    status_message=st.text(max_size=20),
    attributes=_attributes,
    events=st.lists(
        st.builds(SpanEvent, _event_names, st.integers(0, 50), _attributes), max_size=3
    ),
    scope=_scopes,
)
_records = st.builds(
    LogRecord,
    trace_id=st.sampled_from(["t1", "t2", ""]),
    span_id=_ids,
    name=_event_names,
    time_ns=_times,
    attributes=_attributes,
    body=_values,
    scope=_scopes,
)


def parts_of(spans: list[Span], records: list[LogRecord]) -> list[Part]:
    return [part for span in spans for part in map_span(span)] + [
        part for record in records for part in map_log(record)
    ]


_parts = st.builds(parts_of, st.lists(_spans, max_size=6), st.lists(_records, max_size=4))


@settings(max_examples=60, deadline=None)
@given(_spans)
def test_any_span_gives_parts_and_events_that_are_json(span: Span) -> None:
    parts = map_span(span)
    assert Facts.from_json(parts[0].facts.to_json()) == parts[0].facts
    for event in assemble(parts):
        json.dumps(event, allow_nan=False).encode("utf-8")
        assert find_problem({**event, "app": "an-app"}) is None


@settings(max_examples=40, deadline=None)
@given(_records)
def test_any_log_record_gives_parts(record: LogRecord) -> None:
    for part in map_log(record):
        assert Facts.from_json(part.facts.to_json()) == part.facts


@settings(max_examples=40, deadline=None)
@given(_parts)
def test_joining_has_no_order_and_no_memory_of_what_came_twice(parts: list[Part]) -> None:
    by_key: dict[SpanKey, list[Part]] = {}
    for part in parts:
        by_key.setdefault(part.key, []).append(part)
    for one, other, *_ in (same for same in by_key.values() if len(same) > 1):
        joined = join(one, other)
        assert joined == join(other, one)
        assert joined == join(joined, one) == join(other, joined)
    for part in parts:
        once = join(part, part)
        assert join(once, part) == once


@settings(max_examples=40, deadline=None)
@given(_parts, st.randoms())
def test_placing_does_not_depend_on_the_order(parts: list[Part], chance: Any) -> None:
    facts = {part.key: part.facts for part in parts}
    keys = list(facts)
    chance.shuffle(keys)
    assert place({key: facts[key] for key in keys}) == place(facts)


@settings(max_examples=40, deadline=None)
@given(_parts, _parts)
def test_a_second_place_gives_what_it_alone_would_have_given(
    parts: list[Part], more: list[Part]
) -> None:
    known = {part.key: part for part in parts}
    first = place({key: part.facts for key, part in known.items()})
    later = place({**{p.key: p.facts for p in more}, **{k: p.facts for k, p in known.items()}})
    for key in first.keys() & later.keys() & known.keys():
        event = known[key].event
        assert event is not None
        assert later[key].apply(first[key].apply(event)) == later[key].apply(event)


def an_llm(**attributes: Any) -> Span:
    said = {"openinference.span.kind": "LLM", **attributes}
    return Span("t", "s", None, "chat", 10**18, 10**18 + 10**9, attributes=said)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        "[" * 1_000_000,
        "[" * 500_000 + "]" * 500_000,
        "{'a':" * 5_000 + "1" + "}" * 5_000,
        json.dumps([{"role": "user", "content": "x"}] * 100_000),
        json.dumps({"messages": [[[[[["x"]]]]]] * 50_000}),
        b"\xff" * 1_000_000,
        "{" + "'a': 1, " * 1_000_000 + "}",
        [{"role": "user", "content": [{"type": "text", "text": "y"}] * 1_000}] * 1_000,
    ],
    ids=[
        *("long text", "open brackets", "deep json", "deep repr", "many messages", "odd lists"),
        *("bytes", "long repr", "many blocks"),
    ],
)
@pytest.mark.parametrize(
    "name", ["gen_ai.input.messages", "input.value", "metadata", "session.id", "llm.openai.usage"]
)
def test_a_huge_value_is_read_in_bounded_time(name: str, value: Any) -> None:
    began = time.process_time()
    events = assemble(map_span(an_llm(**{name: value})))
    assert time.process_time() - began < 5
    assert len(events) == 1
    assert len(events[0]["session_id"]) <= 1024


def test_a_million_attributes_are_looked_through_once() -> None:
    many = {f"llm.input_messages.{n}.message.content": "x" for n in range(1_000_000)}
    began = time.process_time()
    (event,) = assemble(map_span(an_llm(**many)))
    assert time.process_time() - began < 10
    assert len(event["observation"]["input"]["messages"]) <= attributes.MAX_LOOKED_THROUGH


@pytest.mark.parametrize("shape", ["chain", "star", "same response id", "same twin", "circle"])
def test_a_trace_of_many_spans_is_placed_in_linear_time(shape: str) -> None:
    def facts(n: int) -> Facts:
        parent = {"chain": str(n - 1), "star": "0", "circle": str((n - 1) % 20_000)}.get(shape)
        at = 10**18
        return Facts(
            "llm",
            parent=parent,
            scope=str(n % 7),
            start_ns=at,
            end_ns=at + 10**9,
            response_id="r" if shape == "same response id" else None,
            twin="t" if shape == "same twin" else None,
            has_tokens=True,
        )

    began = time.process_time()
    found = place({SpanKey("t", str(n)): facts(n) for n in range(20_000)})
    assert time.process_time() - began < 10
    assert found


def test_ids_of_spans_that_cannot_be_an_events_become_one() -> None:
    (event,) = assemble(
        map_span(
            Span("é" * 300, "\n", None, "chat", 1, 2, attributes={"gen_ai.operation.name": "chat"})
        )
    )
    assert find_problem({**event, "app": "a"}) is None or len(event["session_id"]) > 1024


@pytest.mark.parametrize(
    "nothing", ["[[]]", "[[], []]", "[{}]", "[null]", "[[[]]]", '{"messages": [[]]}']
)
@pytest.mark.parametrize("name", ["gen_ai.input.messages", "gen_ai.prompt", "output.value"])
def test_lists_of_nothing_are_no_messages(nothing: str, name: str) -> None:
    said = {"gen_ai.operation.name": "chat", name: nothing}
    (part,) = map_span(Span("t", "s", None, "chat", 1, 2, attributes=said))
    assert (
        part.event is not None
        and find_problem({**part.event, "app": "a", "session_id": "s"}) is None
    )
