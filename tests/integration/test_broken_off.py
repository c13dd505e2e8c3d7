"""A stream that breaks off keeps what had come: calls, reasoning, refusals, tokens."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda

from tests.integration.conftest import Recorded
from tests.integration.scripted import Hang, Scripted, cancel


def piece(content: Any = "", **more: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=content, **more))


def call_piece(args: str, index: int = 0, **first: Any) -> ChatGenerationChunk:
    known = {"name": None, "id": None, **first}
    return piece(tool_call_chunks=[tool_call_chunk(args=args, index=index, **known)])


STREAMS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a call": (
        ["let me see ", call_piece("", name="add", id="c1"), call_piece('{"a": 1, "b'),
         call_piece('": 2')],
        {"text": "let me see ",
         "tool_calls": [{"id": "c1", "name": "add", "args": {"a": 1, "b": 2}}]},
    ),
    "several calls at once": (
        [call_piece('{"a"', name="add", id="c1"), call_piece('{"b"', 1, name="sub", id="c2"),
         call_piece(": 1"), call_piece(": 2", 1)],
        {"text": "", "tool_calls": [{"id": "c1", "name": "add", "args": {"a": 1}},
                                    {"id": "c2", "name": "sub", "args": {"b": 2}}]},
    ),
    "anthropic's pieces of JSON": (
        [piece([{"type": "tool_use", "id": "t", "name": "add", "input": {}, "index": 0}],
               tool_call_chunks=[tool_call_chunk(name="add", args="", id="t", index=0)]),
         piece([{"type": "input_json_delta", "partial_json": '{"a": 1', "index": 0}],
               tool_call_chunks=[tool_call_chunk(name=None, args='{"a": 1', id=None, index=0)])],
        {"text": "", "tool_calls": [{"id": "t", "name": "add", "args": {"a": 1}}]},
    ),
    "a legacy call": (
        [piece(additional_kwargs={"function_call": {"name": "add", "arguments": '{"a'}}),
         piece(additional_kwargs={"function_call": {"arguments": '": 1'}})],
        {"text": "", "tool_calls": [{"id": None, "name": "add", "args": '{"a": 1'}]},
    ),
    "reasoning": (
        [piece(additional_kwargs={"reasoning_content": "hm, "}),
         piece(additional_kwargs={"reasoning_content": "well"})],
        {"text": "", "reasoning": "hm, well"},
    ),
    "thinking blocks": (
        [piece([{"type": "thinking", "thinking": "hm, ", "index": 0}]),
         piece([{"type": "thinking", "thinking": "well", "index": 0}])],
        {"text": "", "reasoning": "hm, well"},
    ),
    "a refusal": (
        [piece(additional_kwargs={"refusal": "I "}), piece(additional_kwargs={"refusal": "won't"})],
        {"text": "", "refusal": "I won't"},
    ),
}  # fmt: skip


def expected(output: dict[str, Any]) -> dict[str, Any]:
    return {key: output[key] for key in sorted(output)}


@pytest.mark.parametrize("name", STREAMS)
def test_a_model_cut_short_inside_a_graph_keeps_what_came(name: str, recorded: Recorded) -> None:
    pieces, right = STREAMS[name]

    async def listen(model: Scripted) -> None:
        async for _ in (RunnableLambda(lambda x: x) | model.ainvoke).astream_events(
            "hi", recorded.config(), version="v2"
        ):
            pass

    asyncio.run(cancel(listen(Scripted(script=[[*pieces, Hang()]]))))
    observation = recorded.only()
    assert observation["metadata"]["status"] == "cancelled"
    assert expected(observation["output"]) == expected(right)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_half_read_stream_keeps_what_came(name: str, way: str, recorded: Recorded) -> None:
    pieces, right = STREAMS[name]
    model = Scripted(script=[[*pieces, "never read"]])

    async def read() -> None:
        reading = model.astream("hi", recorded.config())
        for _ in pieces:
            await anext(reading)
        await reading.aclose()

    if way == "astream":
        asyncio.run(read())
    else:
        reading = model.stream("hi", recorded.config())
        for _ in pieces:
            next(reading)
        reading.close()
    observation = recorded.only()
    assert observation["metadata"]["status"] == "cancelled"
    assert expected(observation["output"]) == expected(right)


def test_tokens_and_the_model_are_kept_as_far_as_they_were_told(recorded: Recorded) -> None:
    usage: Any = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
    told = {"model_name": "m-2026", "finish_reason": "length"}
    pieces = [piece("one ", usage_metadata=usage), piece("two", response_metadata=told), Hang()]

    async def listen() -> None:
        model = Scripted(script=[pieces])
        async for _ in (RunnableLambda(lambda x: x) | model.ainvoke).astream_events(
            "hi", recorded.config(), version="v2"
        ):
            pass

    asyncio.run(cancel(listen()))
    observation = recorded.only()
    assert observation["output"] == {"text": "one two"}
    assert observation["metrics"]["input_tokens"] == 5
    assert observation["metadata"]["model"] == "m-2026"


def test_pieces_that_do_not_fit_together_leave_their_text(recorded: Recorded) -> None:
    run_id = UUID(int=1)
    recorded.handler.on_llm_start({}, ["hi"], run_id=run_id)
    for chunk in (object(), piece("b"), None, 7):
        recorded.handler.on_llm_new_token("x", chunk=chunk, run_id=run_id)
    recorded.handler.on_llm_error(asyncio.CancelledError(), run_id=run_id)
    assert recorded.only()["output"] == {"text": "xxxx"}


def test_an_event_stream_of_version_3_keeps_what_came(recorded: Recorded) -> None:
    run_id = UUID(int=1)
    recorded.handler.on_llm_start({}, ["hi"], run_id=run_id)
    delta = "content-block-delta"
    for event in (
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": delta, "index": 0, "delta": {"type": "text-delta", "text": "let me "}},
        {"event": delta, "index": 0, "delta": {"type": "text-delta", "text": "see"}},
        {"event": delta, "index": 1, "delta": {"type": "reasoning-delta", "reasoning": "hm"}},
        {"event": "content-block-start", "index": 2,
         "content": {"type": "tool_call_chunk", "id": "c1", "name": "add", "args": ""}},
        {"event": delta, "index": 2, "delta": {"type": "tool-call-delta", "args": '{"a": '}},
    ):  # fmt: skip
        recorded.handler.on_stream_event(event, run_id=run_id)
    recorded.handler.on_llm_error(asyncio.CancelledError(), run_id=run_id)
    assert recorded.only()["output"] == {
        "text": "let me see",
        "reasoning": "hm",
        "tool_calls": [{"id": "c1", "name": "add", "args": '{"a": '}],
    }
