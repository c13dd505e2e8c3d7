"""Events go out as spans by the GenAI conventions, and come in again as the same events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat import SessionBat
from sessionbat._otel.assembling import assemble
from sessionbat._otel.mapping import map_span
from sessionbat._otel.span_writing import export_request
from sessionbat.importing import import_lines
from sessionbat.testing import Endpoint
from sessionbat.transports import IngestionTransport, MemoryTransport
from tests.otel.captures import spans_in

DATA = Path(__file__).parents[3] / "shared" / "data"
SESSIONS = [
    "airline-agent-sessions.jsonl", "claims-synthetic.jsonl", "coding-rovo.jsonl",
    "retail-agentrx.jsonl",
]  # fmt: skip

#: Of each file; there are 60 MB.
LOOKED_AT = 1_000_000

Event = dict[str, Any]


def written(*events: Event) -> list[dict[str, Any]]:
    """The spans that these events become, their attributes as a dict."""
    made = []
    for resource in request_of(*events)["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            plain = {each["key"]: value_of(each["value"]) for each in span["attributes"]}
            made.append({**span, "attributes": plain})
    return made


def request_of(*events: Event) -> dict[str, Any]:
    """Write a request as it goes over the wire."""
    request: dict[str, Any] = json.loads(json.dumps(export_request(events, "1.0")))
    return request


def value_of(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [value_of(each) for each in inner["values"]]
    return int(inner) if kind == "intValue" else inner


def back_again(*events: Event) -> list[Event]:
    return assemble(part for span in spans_in(request_of(*events)) for part in map_span(span))


def same(one: list[Event], other: list[Event]) -> bool:
    """Whether these are the same events, whatever their order; 1 and 1.0 are not the same."""
    first, second = (sorted(json.dumps(e, sort_keys=True) for e in each) for each in (one, other))
    return first == second


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def client(memory: MemoryTransport) -> SessionBat:
    return SessionBat(app="support-bot", transport=memory, default_context={"environment": "prod"})


def one(record: Any, **context: Any) -> dict[str, Any]:
    """The span of what is recorded by a function of an interaction."""
    memory = MemoryTransport()
    client = SessionBat(app="support-bot", transport=memory, default_context=context)
    record(client.session(session_id="thread_42").interaction(interaction_id="turn_1"))
    (event,) = memory.events
    assert back_again(event) == [event]
    (span,) = written(event)
    return span


def call(**more: Any) -> dict[str, Any]:
    return one(lambda turn: turn.llm(**{"model": "gpt-5.4-mini", "input": "Hello", **more}))


def asked(payload: Any) -> Any:
    return json.loads(call(input=payload)["attributes"]["gen_ai.input.messages"])


def answered(payload: Any, **more: Any) -> Any:
    return json.loads(call(output=payload, **more)["attributes"]["gen_ai.output.messages"])


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "content": words}


def test_a_model_call_has_the_attributes_of_the_conventions() -> None:
    span = one(
        lambda turn: turn.llm(
            model="gpt-5.4-mini",
            input={"messages": [{"role": "user", "content": "I am locked out"}]},
            output={"text": "Use the reset link."},
            metadata={
                "provider": "openai", "finish_reason": "stop", "response_id": "resp_1",
                "agent": "helper", "parameters": {"temperature": 1, "max_tokens": 50, "seed": 7},
            },
            metrics={
                "input_tokens": 142, "output_tokens": 36, "cache_read_tokens": 64,
                "cache_creation_tokens": 3, "reasoning_tokens": 6, "cost_usd": 0.25,
                "time_to_first_token_ms": 120, "http_status": 200,
            },
        ),
        user_id="user_7", environment="prod",
    )  # fmt: skip
    assert span["name"] == "chat gpt-5.4-mini"
    assert span["kind"] == 3
    assert span["status"] == {"code": 0}
    said = {k: v for k, v in span["attributes"].items() if not k.startswith("sessionbat.")}
    assert json.loads(said.pop("gen_ai.input.messages")) == [
        {"role": "user", "parts": [text("I am locked out")]}
    ]
    assert json.loads(said.pop("gen_ai.output.messages")) == [
        {"role": "assistant", "parts": [text("Use the reset link.")], "finish_reason": "stop"}
    ]
    assert said == {
        "gen_ai.conversation.id": "thread_42", "session.id": "thread_42",
        "gen_ai.operation.name": "chat", "user.id": "user_7",
        "deployment.environment.name": "prod", "gen_ai.provider.name": "openai",
        "gen_ai.agent.name": "helper", "http.response.status_code": 200,
        "gen_ai.request.model": "gpt-5.4-mini", "gen_ai.response.model": "gpt-5.4-mini",
        "gen_ai.response.id": "resp_1", "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.12, "gen_ai.usage.cost": 0.25,
        "gen_ai.usage.input_tokens": 142, "gen_ai.usage.output_tokens": 36,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 6, "gen_ai.request.temperature": 1.0,
        "gen_ai.request.max_tokens": 50, "gen_ai.request.seed": 7,
    }  # fmt: skip


def test_a_tool_call_has_its_name_id_arguments_and_result() -> None:
    span = one(
        lambda turn: turn.tool_call(
            tool_name="lookup", input={"id": 1}, output=["x"], metadata={"tool_call_id": "call_1"}
        )
    )
    said = span["attributes"]
    assert (span["name"], span["kind"]) == ("execute_tool lookup", 1)
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert (said["gen_ai.tool.name"], said["gen_ai.tool.call.id"]) == ("lookup", "call_1")
    assert said["gen_ai.tool.call.arguments"] == '{"id":1}'
    assert said["gen_ai.tool.call.result"] == '["x"]'


def test_a_retrieval_has_its_query_and_documents() -> None:
    span = one(
        lambda turn: turn.retrieval(
            query="reset", documents=[{"id": "d", "score": 0.9}], metadata={"index": "help"}
        )
    )
    said = span["attributes"]
    assert (span["name"], said["gen_ai.operation.name"]) == ("retrieval", "retrieval")
    assert said["gen_ai.retrieval.query.text"] == "reset"
    assert json.loads(said["gen_ai.retrieval.documents"]) == [{"id": "d", "score": 0.9}]
    assert said["gen_ai.data_source.id"] == "help"


def test_feedback_is_an_evaluation_of_its_observation() -> None:
    memory = MemoryTransport()
    session = SessionBat(app="a", transport=memory).session(session_id="s")
    turn = session.interaction()
    observation = turn.llm(model="m", input="q", output="a")
    turn.feedback(score=1, label="thumbs_up", comment="Thanks", observation_id=observation)
    session.outcome("helped", reason="ticket closed")
    assert same(back_again(*memory.events), memory.events)
    of_call, of_feedback, of_outcome = written(*memory.events)
    assert of_feedback["parentSpanId"] == of_call["spanId"]
    assert of_feedback["traceId"] == of_call["traceId"]
    (event,) = of_feedback["events"]
    assert event["name"] == "gen_ai.evaluation.result"
    said = {each["key"]: value_of(each["value"]) for each in event["attributes"]}
    assert said == {
        "gen_ai.evaluation.name": "feedback", "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "thumbs_up", "gen_ai.evaluation.explanation": "Thanks",
    }  # fmt: skip
    assert of_outcome["attributes"]["gen_ai.conversation.id"] == "s"
    assert "parentSpanId" not in of_outcome


def test_an_operation_other_than_chat_is_named() -> None:
    span = call(metadata={"operation": "embeddings"})
    assert span["attributes"]["gen_ai.operation.name"] == "embeddings"
    assert span["name"] == "embeddings gpt-5.4-mini"


@pytest.mark.parametrize(
    ("error", "type_", "message"),
    [
        (ValueError("no such account"), "ValueError", "no such account"),
        ({"type": "rate_limit", "message": "slow down", "code": 7}, "rate_limit", "slow down"),
        ("it broke", "Error", "it broke"),
        ({"code": 500}, "_OTHER", ""),
    ],
)
def test_a_failure_has_its_type_and_the_status_error(error: Any, type_: str, message: str) -> None:
    span = call(error=error)
    if isinstance(error, str):
        type_ = span["attributes"]["error.type"]
    assert span["attributes"]["error.type"] == type_
    assert span["status"] == {"code": 2, "message": message}
    assert "gen_ai.response.model" not in span["attributes"]


@pytest.mark.parametrize(
    "payload",
    [
        "Hello",
        {"messages": [{"role": "user", "content": "Hello"}]},
        [{"role": "user", "content": "Hello"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        {"prompt": "Hello"},
        [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}],
    ],
)
def test_each_spelling_of_a_question_is_a_message_of_parts(payload: Any) -> None:
    assert asked(payload) == [{"role": "user", "parts": [text("Hello")]}]


@pytest.mark.parametrize("payload", [7, {"a": 1}, [1, 2], [], "", None, [["x"]], {"messages": 7}])
def test_a_payload_that_is_no_conversation_has_no_messages(payload: Any) -> None:
    said = call(input=payload, output=payload)["attributes"]
    assert "gen_ai.input.messages" not in said
    assert "gen_ai.output.messages" not in said


def said_by(role: str, **block: Any) -> dict[str, Any]:
    return {"role": role, "content": [block]}


def test_calls_results_reasoning_and_images_are_parts_of_their_own() -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    said = asked(
        [
            {"role": "user", "content": [{"type": "text", "text": "Look"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"found": true}'},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}]},
            said_by("assistant", type="tool_use", id="c2", name="g", input={}),
            said_by("user", type="tool_result", tool_use_id="c2", content="ok"),
        ]
    )  # fmt: skip
    assert [message["parts"] for message in said] == [
        [text("Look"), image],
        [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}],
        [{"type": "tool_call_response", "id": "c1", "response": {"found": True}}],
        [{"type": "reasoning", "content": "Hm"}],
        [{"type": "tool_call", "id": "c2", "name": "g", "arguments": {}}],
        [{"type": "tool_call_response", "id": "c2", "response": "ok"}],
    ]


@pytest.mark.parametrize(
    "payload",
    [
        "Hi",
        {"text": "Hi"},
        {"role": "assistant", "content": "Hi"},
        {"choices": [{"message": {"role": "assistant", "content": "Hi"}}]},
        {"messages": [{"role": "assistant", "content": "Hi"}]},
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}}]},
    ],
)
def test_each_spelling_of_an_answer_is_a_message_of_parts(payload: Any) -> None:
    said = answered(payload, metadata={"finish_reason": "length"})
    assert said == [{"role": "assistant", "parts": [text("Hi")], "finish_reason": "length"}]


def test_instructions_beside_the_messages_are_written() -> None:
    said = call(input={"system": "Be kind", "messages": [{"role": "user", "content": "Hello"}]})
    assert json.loads(said["attributes"]["gen_ai.system_instructions"]) == [text("Be kind")]


def test_a_span_has_the_same_ids_at_every_sending_and_a_turn_is_one_trace(
    client: SessionBat, memory: MemoryTransport
) -> None:
    session = client.session(session_id="s")
    for turn in (session.interaction(interaction_id="1"), session.interaction(interaction_id="2")):
        turn.llm(model="m", input="q", observation_id="step-1")
        turn.tool_call(tool_name="t", metadata={"parent_observation_id": "step-1"})
    client.session(session_id="other").interaction().llm(model="m", observation_id="step-1")
    spans = written(*memory.events)
    assert spans == written(*memory.events)
    first, below, second, _, elsewhere = spans
    assert below["traceId"] == first["traceId"] != second["traceId"]
    assert below["parentSpanId"] == first["spanId"]
    assert elsewhere["spanId"] != first["spanId"]
    for span in spans:
        assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
        assert span["traceId"] == format(int(span["traceId"], 16), "032x")


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def ids(id_: str, **metadata: Any) -> tuple[str, str, str]:
    observation = {"kind": "llm", "metadata": metadata}
    (span,) = written({"type": "llm", "id": id_, "observation": observation})
    return span["traceId"], span["spanId"], span.get("parentSpanId", "")


def test_an_event_that_a_span_has_become_goes_out_as_that_span() -> None:
    above = "c" * 16
    made = ids(
        f"{TRACE}-{SPAN}", trace_id=TRACE, span_id=SPAN, parent_observation_id=f"{TRACE}-{above}"
    )
    assert made == (TRACE, SPAN, above)
    assert ids(f"{TRACE}-{SPAN}")[:2] == (TRACE, SPAN)


def test_what_was_recorded_within_a_span_of_the_host_is_below_it_and_several_stay_apart() -> None:
    one, other = (ids(id_, trace_id=TRACE.upper(), span_id=SPAN) for id_ in ("1", "2"))
    assert one[0] == other[0] == TRACE
    assert one[2] == other[2] == SPAN
    assert len({one[1], other[1], SPAN}) == 3


@pytest.mark.parametrize("bad", ["", "0" * 32, "x" * 32, TRACE[:-1], 7, None, ["a"], TRACE + "0"])
def test_ids_that_are_none_are_not_taken(bad: Any) -> None:
    trace, span, parent = ids("x", trace_id=bad, span_id=bad)
    assert trace == ids("x")[0] != bad
    assert (len(span), parent) == (16, "")


def test_an_observation_is_not_its_own_parent() -> None:
    assert ids("x", parent_observation_id="x")[2] == ""


def test_apps_of_one_request_are_resources_apart() -> None:
    events = [{"type": "llm", "id": app, "app": app, "observation": {}} for app in ("a", "b", "a")]
    resources = request_of(*events)["resourceSpans"]
    names = [value_of(r["resource"]["attributes"][0]["value"]) for r in resources]
    assert names == ["a", "b"]
    assert [len(r["scopeSpans"][0]["spans"]) for r in resources] == [2, 1]


# The round trip


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
)
JSON = SCALAR | containers(SCALAR | containers(SCALAR))
WORDS = st.text(max_size=12)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "odd"])},
    optional={
        "content": JSON | WORDS,
        "tool_calls": st.lists(st.fixed_dictionaries({"id": WORDS, "name": WORDS, "args": JSON})),
        "parts": JSON,
    },
)
PAYLOAD = JSON | WORDS | st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=3) | JSON})
KNOWN = st.sampled_from(
    [
        "operation", "aggregate", "source", "parent_observation_id", "agent", "node", "status",
        "trace_id", "span_id", "span_ids", "lent_by_other_spans", "provider", "parameters",
        "finish_reason", "response_id", "tool_call_id", "instrumentation", "content", "model",
    ]
)  # fmt: skip
VALUE = JSON | st.sampled_from(["transcript", TRACE, SPAN, ["times", "error"], True])
METADATA = st.dictionaries(KNOWN | WORDS, VALUE, max_size=5)
METRIC = st.sampled_from(
    ["latency_ms", "input_tokens", "output_tokens", "cost_usd", "http_status", "other"]
)
COMMON = {
    "metadata": METADATA,
    "metrics": st.dictionaries(METRIC, st.floats() | st.integers(), max_size=4),
    "error": st.none() | JSON,
    "tags": st.lists(WORDS, max_size=2),
    "context": st.dictionaries(st.just("user_id") | WORDS, JSON, max_size=2),
    "started_at": st.none() | st.floats(0, 1e10) | WORDS,
}  # fmt: skip
CALLS = st.one_of(
    st.tuples(
        st.just("llm"),
        st.fixed_dictionaries({"model": WORDS, "input": PAYLOAD, "output": PAYLOAD, **COMMON}),
    ),
    st.tuples(
        st.just("tool_call"),
        st.fixed_dictionaries({"tool_name": WORDS, "input": JSON, "output": JSON, **COMMON}),
    ),
    st.tuples(
        st.just("retrieval"),
        st.fixed_dictionaries({"query": JSON, "documents": JSON, **COMMON}),
    ),
    st.tuples(
        st.just("feedback"),
        st.fixed_dictionaries(
            {"score": st.floats() | st.booleans(), "label": WORDS, "comment": WORDS}
        ),
    ),
)
IDS = st.text(min_size=1, max_size=12) | st.sampled_from([" s ", "s", "…"])


@settings(max_examples=50)
@given(st.lists(st.tuples(IDS, IDS, CALLS), min_size=1, max_size=4))
def test_the_round_trip_of_generated_events_is_the_identity(
    recorded: list[tuple[str, str, tuple[str, dict[str, Any]]]],
) -> None:
    memory = MemoryTransport()
    client = SessionBat(app="any", transport=memory)
    for session_id, interaction_id, (method, arguments) in recorded:
        turn = client.session(session_id=session_id).interaction(interaction_id=interaction_id)
        getattr(turn, method)(**arguments)
    assert len(memory.events) == len(recorded)
    assert same(back_again(*memory.events), memory.events)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["type", "id", "app", "session_id", "interaction_id",
    "created_at", "tags", "context", "observation", "feedback"]), JSON))  # fmt: skip
def test_what_is_hardly_an_event_is_written_all_the_same(event: Event) -> None:
    (span,) = written(event)
    assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
    assert span["name"]
    for part in map(map_span, spans_in(request_of(event))):
        assert part


@cache
def imported(name: str) -> tuple[Event, ...]:
    """The events that the importer makes of a file of sessions."""
    path = DATA / name
    if not path.exists():
        if "CI" in os.environ:
            pytest.fail(f"{path} is missing, and under CI it must be there")
        pytest.skip(f"{path} is not here")
    some = path.read_bytes()[:LOOKED_AT]
    some = some[: some.rfind(b"\n") + 1] or path.read_bytes().partition(b"\n")[0]
    with Endpoint() as endpoint, BytesIO(some) as stream:
        transport = IngestionTransport(endpoint=endpoint.url, spool=False)
        import_lines(stream, name=name, transport=transport, on_bad_line=lambda *_: None)
        transport.close(60)
        return tuple(unique(event for request in endpoint.requests for event in request.events))


def unique(events: Iterator[Event]) -> list[Event]:
    """Leave out what was sent twice."""
    return [*{(event["session_id"], event["id"]): event for event in events}.values()]


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_the_round_trip_of_the_example_sessions_is_the_identity(name: str) -> None:
    events = list(imported(name))
    assert events
    by_session: dict[str, list[Event]] = {}
    for event in events:
        by_session.setdefault(event["session_id"], []).append(event)
    for session in by_session.values():
        assert same(back_again(*session), session)
        for span in written(*session):
            assert span["attributes"]["gen_ai.conversation.id"] == session[0]["session_id"]
            if span["name"].startswith("chat"):
                assert "gen_ai.output.messages" in span["attributes"]
