"""How each library spells tools, retrievals, errors and first tokens, a row each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat._otel.model import Span
from tests.otel.making import ORDER, SHIPPED, A, Q, events, happened, span

CALL = [["get_order", ORDER]]
CHAT = {"messages": [{"role": "user", "content": Q}]}
COMPLETION = {
    "id": "chatcmpl-1",
    "choices": [{"message": {"role": "assistant", "content": A}, "finish_reason": "stop"}],
}
DUMP = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": Q, "type": "human"},
}


def j(value: Any) -> str:
    return json.dumps(value)


TOOLS: dict[str, Span] = {
    "GenAI": span(
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_order",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.call.arguments": j(ORDER),
            "gen_ai.tool.call.result": j(SHIPPED),
        }
    ),
    "AI SDK 6": span(
        attributes={
            "ai.operationId": "ai.toolCall",
            "ai.toolCall.name": "get_order",
            "ai.toolCall.id": "call_1",
            "ai.toolCall.args": j(ORDER),
            "ai.toolCall.result": j(SHIPPED),
        }
    ),
    "OpenInference": span(
        attributes={
            "openinference.span.kind": "TOOL",
            "tool.name": "get_order",
            "tool.id": "call_1",
            "tool.parameters": j({"type": "object", "properties": {"order_id": {}}}),
            "input.value": j(ORDER),
            "output.value": j(SHIPPED),
        }
    ),
    "OpenInference, arguments among the parameters": span(
        attributes={
            "openinference.span.kind": "TOOL",
            "tool.name": "get_order",
            "tool.id": "call_1",
            "tool.parameters": j(ORDER),
            "output.value": j({"type": "tool", "data": {
                "content": j(SHIPPED), "tool_call_id": "call_1"}}),
        }
    ),
    "OpenLLMetry": span(
        attributes={
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "get_order",
            "tool.id": "call_1",
            "traceloop.entity.input": j({"args": [], "kwargs": ORDER}),
            "traceloop.entity.output": j(SHIPPED),
        }
    ),
    "OpenLLMetry for LangChain": span(
        "execute_tool get_order",
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.arguments": j({"input_str": str(ORDER), "tags": [], "metadata": {}}),
            "gen_ai.tool.call.result": j({"output": {"lc": 1, "kwargs": {
                "content": j(SHIPPED), "tool_call_id": "call_1"}}, "kwargs": {}}),
        },
    ),
    "Langfuse": span(
        "get_order",
        attributes={
            "langfuse.observation.type": "tool",
            "langfuse.observation.input": j(ORDER),
            "langfuse.observation.output": j({"content": j(SHIPPED), "tool_call_id": "call_1"}),
        },
    ),
    "LangSmith": span(
        "get_order",
        attributes={
            "langsmith.span.kind": "tool",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.prompt": j(ORDER),
            "gen_ai.completion": j({"output": SHIPPED}),
        },
    ),
    "Google ADK, older": span(
        "execute_tool get_order",
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.id": "call_1",
            "gcp.vertex.agent.tool_call_args": j(ORDER),
            "gcp.vertex.agent.tool_response": j({"name": "get_order", "response": SHIPPED}),
        },
    ),
    "Strands, latest": span(
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_order",
            "gen_ai.tool.call.id": "call_1",
        },
        events=[
            happened(
                "gen_ai.client.inference.operation.details",
                **{"gen_ai.input.messages": j([{"role": "tool", "parts": [
                    {"type": "tool_call", "name": "get_order", "id": "call_1",
                     "arguments": ORDER}]}])},
            ),
            happened(
                "gen_ai.client.inference.operation.details",
                **{"gen_ai.output.messages": j([{"role": "tool", "parts": [
                    {"type": "tool_call_response", "id": "call_1", "response": SHIPPED}]}])},
            ),
        ],
    ),
    "MCP with its result": span(
        "tools/call get_order",
        attributes={
            "mcp.method.name": "tools/call",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.call.arguments": j(ORDER),
            "gen_ai.tool.call.result": j(
                {"content": [{"type": "text", "text": j(SHIPPED)}], "isError": False}
            ),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", TOOLS)
def test_a_tool_call_reads_alike_in_every_dialect(dialect: str) -> None:
    (event,) = events(TOOLS[dialect])
    observation = event["observation"]
    assert (observation["kind"], observation["name"]) == ("tool", "get_order")
    assert (observation["input"], observation["output"]) == (ORDER, SHIPPED)
    assert observation["metadata"]["tool_call_id"] == "call_1"


DOCUMENT = {"id": "kb-17", "title": "Shipping", "score": 0.91, "content": "In two days."}
FOUND = {
    "page_content": "In two days.",
    "metadata": {k: DOCUMENT[k] for k in ("id", "title", "score")},
}
RETRIEVALS: dict[str, dict[str, Any]] = {
    "GenAI": {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.query.text": "when",
        "gen_ai.retrieval.documents": j([DOCUMENT]),
    },
    "OpenInference": {
        "openinference.span.kind": "RETRIEVER",
        "input.value": "when",
        "retrieval.documents.1.document.id": "kb-17",
        "retrieval.documents.1.document.content": "In two days.",
        "retrieval.documents.1.document.metadata": j({"title": "Shipping", "score": 0.91}),
    },
    "LangSmith": {
        "langsmith.span.kind": "retriever",
        "gen_ai.operation.name": "embeddings",
        "gen_ai.prompt": j({"query": "when"}),
        "gen_ai.completion": j({"output": [FOUND]}),
    },
    "Langfuse": {
        "langfuse.observation.type": "retriever",
        "langfuse.observation.input": j({"args": ["when"], "kwargs": {}}),
        "langfuse.observation.output": j([DOCUMENT]),
    },
    "OpenLLMetry": {
        "gen_ai.operation.name": "vector_db_retrieve",
        "traceloop.entity.input": j({"query": "when", "tags": []}),
        "traceloop.entity.output": j({"documents": [FOUND], "count": 1}),
    },
    "a vector store": {
        "db.system": "chroma",
        "db.operation": "query",
        "db.vector.query.top_k": 3,
        "input.value": "when",
        "output.value": j({"documents": [DOCUMENT]}),
    },
}


@pytest.mark.parametrize("dialect", RETRIEVALS)
def test_a_retrieval_reads_alike_in_every_dialect(dialect: str) -> None:
    (event,) = events(span(attributes=RETRIEVALS[dialect]))
    observation = event["observation"]
    assert observation["kind"] == "retrieval"
    assert observation["input"] == {"query": "when"}
    (document,) = observation["output"]["documents"]
    assert {key: document[key] for key in DOCUMENT} == DOCUMENT
    assert observation["metrics"]["documents_found"] == 1


EMBEDDINGS: dict[str, dict[str, Any]] = {
    "GenAI": {"gen_ai.operation.name": "embeddings", "gen_ai.embeddings.input": "a text"},
    "AI SDK": {
        "ai.operationId": "ai.embed.doEmbed",
        "ai.values": ['"a text"'],
        "ai.embeddings": ["[0.1,0.2]"],
    },
    "OpenInference": {
        "openinference.span.kind": "EMBEDDING",
        "embedding.embeddings.0.embedding.text": "a text",
        "embedding.embeddings.0.embedding.vector": [0.1, 0.2],
        "output.value": "[0.1, 0.2]",
    },
    "Langfuse": {
        "langfuse.observation.type": "embedding",
        "langfuse.observation.input": '{"input": "a text"}',
        "langfuse.observation.output": "[[0.1, 0.2]]",
    },
}


@pytest.mark.parametrize("dialect", EMBEDDINGS)
def test_embeddings_keep_their_texts_and_no_vector(dialect: str) -> None:
    (event,) = events(span(attributes=EMBEDDINGS[dialect]))
    assert event["observation"]["metadata"]["operation"] == "embeddings"
    assert event["observation"]["input"] in ({"text": "a text"}, {"texts": ["a text"]})
    assert event["observation"]["output"] is None
    assert "0.1" not in json.dumps(event)


FIRST_TOKENS: dict[str, dict[str, Any]] = {
    "seconds": {"attributes": {"gen_ai.response.time_to_first_chunk": 0.25}},
    "seconds, client": {"attributes": {"gen_ai.client.operation.time_to_first_chunk": 0.25}},
    "milliseconds, Strands": {"attributes": {"gen_ai.server.time_to_first_token": 250}},
    "milliseconds, AI SDK": {"attributes": {"ai.response.msToFirstChunk": 250}},
    "a moment, Langfuse": {
        "attributes": {
            "langfuse.observation.completion_start_time": '"2026-11-30T00:53:20.250000Z"'
        }
    },
    "an event, OpenInference": {"events": [happened("First Token Stream Event", 0.25)]},
    "events, OpenLLMetry": {
        "events": [happened("gen_ai.content.completion.chunk", at) for at in (0.5, 0.25)]
    },
}


@pytest.mark.parametrize("spelt", FIRST_TOKENS)
def test_the_first_token_is_milliseconds_after_the_start(spelt: str) -> None:
    more = FIRST_TOKENS[spelt]
    said = {"gen_ai.operation.name": "chat", **more.get("attributes", {})}
    (event,) = events(span(**{**more, "attributes": said}))
    assert event["observation"]["metrics"]["time_to_first_token_ms"] == pytest.approx(250)


ERRORS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "status and type": (
        {"status_message": "Error code: 400 - no", "attributes": {"error.type": "BadRequestError"}},
        ("BadRequestError", "Error code: 400 - no"),
    ),
    "type in the message": (
        {"status_message": "BadRequestError: Error code: 400 - no"},
        ("BadRequestError", "Error code: 400 - no"),
    ),
    "an exception": (
        {
            "attributes": {"error.type": "_OTHER"},
            "events": [
                happened(
                    "exception",
                    **{"exception.type": "a.BadRequestError", "exception.message": "no"},
                )
            ],
        },
        ("a.BadRequestError", "no"),
    ),
    "a repr with a traceback": (
        {"status_message": "BadRequestError('no')Traceback (most recent call last):\n  …"},
        ("BadRequestError", "no"),
    ),
    "a dictionary": (
        {"status_message": "{'message': 'Error getting response', 'data': {'error': 'no'}}"},
        ("Error", "no"),
    ),
    "nothing": ({}, ("Error", "")),
    "Langfuse": (
        {
            "status": "unset",
            "attributes": {
                "langfuse.observation.level": "ERROR",
                "langfuse.observation.status_message": "no",
            },
        },
        ("Error", "no"),
    ),
}


@pytest.mark.parametrize("spelt", ERRORS)
def test_an_error_has_a_type_and_a_message(spelt: str) -> None:
    more, (type_, message) = ERRORS[spelt]
    said = {"gen_ai.operation.name": "chat", **more.get("attributes", {})}
    (event,) = events(span(**{"status": "error", **more, "attributes": said}))
    assert event["observation"]["error"] == {"type": type_, "message": message}


@pytest.mark.parametrize("type_", ["asyncio.CancelledError", "CancelledError", "GeneratorExit"])
def test_a_cancelled_call_is_no_error(type_: str) -> None:
    said = {"gen_ai.operation.name": "chat", "error.type": type_}
    (event,) = events(span(status="error", attributes=said))
    assert event["observation"]["error"] is None
    assert event["observation"]["metadata"]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("raw", "spelt"),
    [
        *(("tool_call", "tool_calls"), ("tool-calls", "tool_calls"), ("tool_use", "tool_calls")),
        *(("end_turn", "stop"), ("FinishReason.STOP", "stop"), ("MAX_TOKENS", "length")),
        *(("SAFETY", "content_filter"), ("something else", "something else")),
    ],
)
def test_finish_reasons_have_one_spelling_and_the_raw_one_is_kept(raw: str, spelt: str) -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": [raw]}
    metadata = events(span(attributes=said))[0]["observation"]["metadata"]
    assert metadata["finish_reason"] == spelt
    assert metadata.get("finish_reason_raw") == (None if raw == spelt else raw)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mcp.session.id": "s", "gen_ai.operation.name": "chat"},
        {"langsmith.trace.session_name": "s", "langsmith.span.kind": "llm"},
        {"session.id": "", "gen_ai.operation.name": "chat"},
        {"session.id": {"a": 1}, "gen_ai.operation.name": "chat"},
    ],
)
def test_what_is_no_session_makes_none(attributes: dict[str, Any]) -> None:
    (event,) = events(span(attributes=attributes))
    assert event["session_id"] == "t"
    assert event["context"]["session_from"] == "trace"


def test_the_emitter_names_app_release_environment_and_its_own_attributes() -> None:
    resource = {
        "service.name": "support-bot",
        "service.version": "1.2.3",
        "deployment.environment": "test",
    }
    said = {
        "gen_ai.operation.name": "chat",
        "tag.tags": ["beta", "seq:step:1"],
        "shop.country": "it",
    }
    (event,) = events(span(attributes=said, resource=resource))
    assert event["app"] == "support-bot"
    assert event["context"]["environment"] == "test"
    assert event["context"]["release"] == "1.2.3"
    assert event["tags"] == ["beta"]
    assert event["observation"]["metadata"]["attributes"] == {"shop.country": "it"}
    assert event["observation"]["metadata"]["instrumentation"] == "some.scope"
