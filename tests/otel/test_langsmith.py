"""Runs of LangSmith's own protocol: each call once, whichever way its beginning and end come."""

from __future__ import annotations

import itertools
import json
import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionbat._otel.assembling import assemble
from sessionbat._otel.joining import join
from sessionbat._otel.langsmith_feedback import langsmith_feedback
from sessionbat._otel.langsmith_runs import run_parts
from sessionbat.event import find_problem
from tests.otel.langsmith_requests import FOLDER, feedback_of, runs_of
from tests.otel.making import ORDER, SHIPPED, A, Q
from tests.otel.telling import agree, expected, told
from tests.otel.test_captures import Store

ROOT = "01a22363-438e-7f01-887f-fa622d8fb3c5"
OWN = "01a22363-4401-76fe-82b2-9306d6687483"
START = "2026-11-28T18:20:37.000000+00:00"
CHAT = {"messages": [{"role": "user", "content": Q}], "model": "gpt", "temperature": 0.5}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "gpt-2026",
    "choices": [{"message": {"role": "assistant", "content": A}, "finish_reason": "stop"}],
    "usage_metadata": {
        "input_tokens": 120,
        "output_tokens": 18,
        "input_token_details": {"cache_read": 64},
        "output_token_details": {"reasoning": 6},
    },
}
DUMP = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": Q, "type": "human"},
}
GENERATION: dict[str, Any] = {
    "text": A,
    "generation_info": {"finish_reason": "stop"},
    "message": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "AIMessage"],
        "kwargs": {"content": A, "type": "ai", "usage_metadata": ANSWER["usage_metadata"]},
    },
}


def run(type_: str | None = "llm", **more: Any) -> dict[str, Any]:
    made = {
        "id": OWN,
        "trace_id": ROOT,
        "parent_run_id": ROOT,
        "dotted_order": f"20261128T182036000000Z{ROOT}.20261128T182037000000Z{OWN}",
        "name": "ChatOpenAI",
        "run_type": type_,
        "session_name": "support-bot",
        "start_time": START,
        "end_time": "2026-11-28T18:20:38.000000+00:00",
        "inputs": CHAT,
        "outputs": ANSWER,
        "extra": {"metadata": {"session_id": "thread_42"}},
        **more,
    }
    return {key: value for key, value in made.items() if value is not None}


def beginning(type_: str = "llm", **more: Any) -> dict[str, Any]:
    return run(type_, **{"end_time": None, "outputs": {}, **more})


def end(type_: str | None = None, **more: Any) -> dict[str, Any]:
    """An end as older SDKs and other languages send it: without kind, name, inputs and start."""
    return run(type_, **{"name": None, "inputs": None, "start_time": None, **more})


def events(*runs: dict[str, Any]) -> list[dict[str, Any]]:
    return assemble([part for each in runs for part in run_parts(each)])


def only(*runs: dict[str, Any]) -> dict[str, Any]:
    (event,) = events(*runs)
    return event


# What the SDK sent

needs_captures = pytest.mark.skipif(
    not FOLDER.exists() and "CI" not in os.environ, reason="no captures here"
)
each_capture = pytest.mark.parametrize("name", ["plain", "zstd"])


@needs_captures
@each_capture
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_capture_gives_each_call_once_in_any_order(name: str, seed: int | None) -> None:
    runs = runs_of(name) * (1 if seed is None else 2)
    if seed is not None:
        random.Random(seed).shuffle(runs)
    wanted, found = expected(f"switching/langsmith_{name}"), told(events(*runs))
    pairs = itertools.zip_longest(wanted, found)
    assert [pair for pair in pairs if not agree(*pair)] == []


@needs_captures
@each_capture
def test_one_run_at_a_time_through_a_store_gives_the_same(name: str) -> None:
    parts = [part for each in runs_of(name) for part in run_parts(each)]
    parts += filter(None, map(langsmith_feedback, feedback_of(name)))
    random.Random(7).shuffle(parts)
    store = Store()
    for part in parts:
        store.receive([part])
    assert sorted(store.events(), key=str_id) == sorted(assemble(parts), key=str_id)


@needs_captures
@each_capture
def test_no_setting_of_the_process_and_no_stack_trace_is_kept(name: str) -> None:
    written = json.dumps(events(*runs_of(name)))
    assert "LANGSMITH_" not in written and "127.0.0.1" not in written
    assert "Traceback" not in written and "runtime_version" not in written


@needs_captures
@each_capture
def test_the_project_is_the_app_and_no_session(name: str) -> None:
    found = events(*runs_of(name))
    assert {each["app"] for each in found} == {"support-bot"}
    assert {each["session_id"] for each in found} == {"thread_42"}


def str_id(event: dict[str, Any]) -> str:
    return str(event["id"])


# Beginnings and ends

SPELLINGS = {
    "an end that names its kind": end("llm"),
    "an end without kind, start and inputs": end(),
    "an end that repeats the inputs": end("llm", inputs=CHAT, start_time=START),
    "an end that knows nothing but its order": end(trace_id=None, parent_run_id=None),
}


@pytest.mark.parametrize("said", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_beginning_and_an_end_make_one_call(said: dict[str, Any], is_turned: bool) -> None:
    runs = [beginning(), said]
    event = only(*(reversed(runs) if is_turned else runs))
    observation = event["observation"]
    assert observation["input"]["messages"] == CHAT["messages"]
    assert observation["output"]["messages"][0]["content"] == A
    assert observation["metrics"]["latency_ms"] == 1000
    assert observation["metrics"]["input_tokens"] == 120
    assert observation["metadata"]["model"] == "gpt-2026"
    assert observation["metadata"]["parameters"] == {"temperature": 0.5}
    assert "status" not in observation["metadata"]
    assert (event["session_id"], event["created_at"]) == (
        "thread_42",
        "2026-11-28T18:20:38.000000Z",
    )


KINDS: dict[str, tuple[Any, Any, Any, Any]] = {
    "tool": (ORDER, {"output": SHIPPED}, ORDER, SHIPPED),
    "retriever": (
        {"query": Q},
        {"documents": [{"page_content": "D", "metadata": {"id": "d1"}, "type": "Document"}]},
        {"query": Q},
        [{"content": "D", "id": "d1"}],
    ),
    "llm": (CHAT, ANSWER, None, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_without_its_kind_is_read_as_the_beginning_says(kind: str) -> None:
    inputs, outputs, _, _ = KINDS[kind]
    whole = only(run(kind, name="it", inputs=inputs, outputs=outputs))
    begun = beginning(kind, name="it", inputs=inputs)
    for runs in ([begun, end(outputs=outputs)], [end(outputs=outputs), begun]):
        assert only(*runs) == whole


def test_an_end_without_its_kind_and_beginning_is_no_event_yet() -> None:
    assert events(end()) == []
    assert len(events(end(), end(), beginning())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_whose_end_never_comes_is_an_event_that_says_so(kind: str) -> None:
    event = only(beginning(kind, inputs=KINDS[kind][0]))
    assert event["observation"]["metadata"]["status"] == "unfinished"
    assert event["observation"]["output"] is None
    assert "latency_ms" not in event["observation"]["metrics"]
    assert find_problem(event) is None


def test_a_run_that_failed_without_an_end_is_not_unfinished() -> None:
    observation = only(beginning(error="ValueError('no')"))["observation"]
    assert observation["error"] == {"type": "ValueError", "message": "no"}
    assert "status" not in observation["metadata"]


def test_the_first_token_is_known_by_an_event_of_the_end() -> None:
    token = {"name": "new_token", "time": "2026-11-28T18:20:37.250000+00:00"}
    later = {"name": "new_token", "time": "2026-11-28T18:20:37.750000+00:00"}
    said = end(events=[later, token, token])
    assert only(beginning(), said)["observation"]["metrics"]["time_to_first_token_ms"] == 250
    without_start = {**said, "dotted_order": None}
    for runs in ([beginning(), without_start], [without_start, beginning()]):
        metrics = only(*runs)["observation"]["metrics"]
        assert metrics["time_to_first_token_ms"] == 250


# Dialects

ERRORS = {
    "ValueError('no')\n\nTraceback (most recent call last):\n  x": ("ValueError", "no", None),
    'BadRequestError("Error code: 400 - it\'s")Traceback (most recent call last):\n x': (
        *("BadRequestError", "Error code: 400 - it's", 400),
    ),
    "TimeoutError()": ("TimeoutError", "", None),
    "Error: from JavaScript\n    at Object.<anonymous>": (
        *("Error", "Error: from JavaScript\n    at Object.<anonymous>", None),
    ),
}


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_has_its_type_and_message(text: str) -> None:
    observation = only(run(error=text, outputs={"output": None}))["observation"]
    type_, message, status = ERRORS[text]
    assert observation["error"] == {"type": type_, "message": message}
    assert observation["metrics"].get("http_status") == status


@pytest.mark.parametrize("text", ["CancelledError()", "GeneratorExit()", "CancelledError('x')"])
def test_a_cancelled_run_is_no_error(text: str) -> None:
    observation = only(run(error=text))["observation"]
    assert observation["error"] is None
    assert observation["metadata"]["status"] == "cancelled"


FORMS: dict[str, tuple[Any, Any]] = {
    "wrap_openai": (CHAT, ANSWER),
    "LangChain": (
        {"messages": [[DUMP]]},
        {"generations": [[GENERATION]], "llm_output": {"model_name": "gpt-2026"}},
    ),
    "LangChain in JavaScript": (
        {"messages": [[DUMP]]},
        {
            "model": "gpt-2026",
            "generations": [
                [
                    {
                        **GENERATION,
                        "message": {
                            **GENERATION["message"],
                            "kwargs": {"content": A, "type": "ai"},
                        },
                    }
                ]
            ],
            "llmOutput": {
                "tokenUsage": {
                    "promptTokens": 120,
                    "completionTokens": 18,
                    "cached_tokens": 64,
                    "reasoning_tokens": 6,
                }
            },
        },
    ),
    "usage as the provider writes it": (
        CHAT,
        {
            **{key: ANSWER[key] for key in ("model", "choices")},
            "usage": {
                "prompt_tokens": 120,
                "completion_tokens": 18,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 6},
            },
        },
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_of_a_model_call_is_read(name: str) -> None:
    inputs, outputs = FORMS[name]
    (said,) = told([only(run(inputs=inputs, outputs=outputs))])
    assert (said["asked"], said["said"], said["tokens"], said["finish"]) == (
        *(Q, A, "120/18/64/6", "stop"),
    )
    assert (
        only(run(inputs=inputs, outputs=outputs))["observation"]["metadata"]["model"] == "gpt-2026"
    )


@pytest.mark.parametrize("key", ["session_id", "thread_id", "conversation_id"])
def test_a_session_in_the_metadata_is_that_of_the_whole_trace(key: str) -> None:
    chain = run("chain", id=ROOT, parent_run_id=None, extra={"metadata": {key: "s"}})
    event = only(chain, run(extra={}))
    assert event["session_id"] == "s"
    assert event["interaction_id"] == ROOT.replace("-", "")


def test_a_run_that_names_no_session_says_so() -> None:
    event = only(run(extra={"metadata": {"LANGSMITH_PROJECT": "p"}}, session_id="a project"))
    assert event["session_id"] == ROOT.replace("-", "")
    assert event["context"]["session_from"] == "trace"


@pytest.mark.parametrize("kind", ["chain", "prompt", "parser", "anything"])
def test_other_kinds_of_runs_are_structure(kind: str) -> None:
    assert events(run(kind)) == []


def test_an_embedding_keeps_its_texts_and_no_vector() -> None:
    event = only(run("embedding", inputs={"input": ["a", "b"]}, outputs={"embeddings": [[0.5]]}))
    assert event["observation"]["metadata"]["operation"] == "embeddings"
    assert event["observation"]["input"] == {"input": ["a", "b"]}
    assert event["observation"]["output"] is None


def test_a_cost_tags_release_and_metadata_of_the_host_arrive() -> None:
    usage = {**ANSWER["usage_metadata"], "total_cost": 0.25}
    event = only(
        run(
            outputs={**ANSWER, "usage_metadata": usage},
            tags=["beta", "seq:step:1"],
            extra={"metadata": {"revision_id": "v7", "plan": "pro", "LANGSMITH_TRACING": "true"}},
        )
    )
    assert event["tags"] == ["beta"]
    assert event["context"]["release"] == "v7"
    assert event["observation"]["metrics"]["cost_usd"] == 0.25
    assert event["observation"]["metadata"]["plan"] == "pro"


# Whatever is sent

_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["llm", "tool", ROOT, OWN, START, "20261128T182037000000Zx", "\ud800", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "runtime", "usage_metadata", "messages", "generations", "run_id"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_keys = ("trace_id", "parent_run_id", "dotted_order", "name", "run_type", "start_time", "tags")
_more = ("end_time", "inputs", "outputs", "error", "events", "extra", "session_name", "serialized")
_runs = st.fixed_dictionaries({"id": st.sampled_from([ROOT, OWN, "x", "\ud800"])}, optional={
    **dict.fromkeys((*_keys, *_more), _anything)
})  # fmt: skip
_said = st.fixed_dictionaries({}, optional=dict.fromkeys(
    ("id", "run_id", "trace_id", "key", "score", "value", "comment", "feedback_source"), _anything
))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(_runs, max_size=4), st.lists(_said, max_size=2), st.randoms())
def test_hostile_runs_raise_nothing_and_make_events_in_any_order(
    runs: list[Any], said: list[Any], order: random.Random
) -> None:
    parts = [part for each in runs for part in run_parts(each)]
    parts += [part for each in said if (part := langsmith_feedback(each)) is not None]
    made = assemble(parts)
    json.dumps(made, allow_nan=False).encode()
    assert not [
        each for each in made if each["type"] != "feedback" and find_problem({**each, "app": "a"})
    ]
    shuffled = list(parts)
    order.shuffle(shuffled)
    assert assemble(shuffled) == made


@settings(max_examples=200, deadline=None)
@given(_runs, _runs)
def test_joining_does_not_look_at_the_order(one: Any, other: Any) -> None:
    made = [run_parts({**each, "id": OWN, "trace_id": ROOT})[0] for each in (one, other)]
    assert join(*made) == join(*reversed(made))
    joined = join(*made)
    assert join(joined, made[0]) == joined == join(joined, made[1])


@pytest.mark.parametrize("id_", [None, "", " ", [], {}, True])
def test_a_run_without_an_id_is_nothing(id_: Any) -> None:
    assert run_parts({**run(), "id": id_}) == ()
