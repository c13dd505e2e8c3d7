"""A tool call: its name, what it was called with, what it gave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sessionbat._otel import chat, event_messages, transcripts, values
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.model import Span

_NAMES: Final = Names(
    *("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name"),
    *("mcp.tool.name", "langsmith.trace.name"),
)
_CALL_IDS: Final = Names(
    *("gen_ai.tool.call.id", "tool.id", "ai.toolCall.id", "tool_call.id"),
    *("langfuse.observation.metadata.tool_call_id", "tool.call_id"),
)
_ARGUMENTS: Final = Names(
    *("gen_ai.tool.call.arguments", "ai.toolCall.args", "ai.toolCall.input", "tool_arguments"),
    *("langfuse.observation.input", "traceloop.entity.input", "input.value", "gen_ai.prompt"),
    *("gen_ai.tool.arguments", "gen_ai.task.input", "mcp.request.argument", "mlflow.spanInputs"),
    *("gcp.vertex.agent.tool_call_args", "gen_ai.tool.input", "tool.input"),
)
_RESULTS: Final = Names(
    *("gen_ai.tool.call.result", "ai.toolCall.result", "ai.toolCall.output", "tool_response"),
    *("langfuse.observation.output", "traceloop.entity.output", "output.value"),
    *("gen_ai.completion", "gen_ai.tool.output", "gen_ai.task.output", "mcp.response.value"),
    *("mlflow.spanOutputs", "gcp.vertex.agent.tool_response"),
)
#: ``MCP send tools/call get_order``, ``execute_tool get_order``, ``get_order.tool``.
_SPAN_NAMES: Final = (
    re.compile(r"(?:.* )?tools/call (\S.*)\Z"),
    re.compile(r"(?:execute_tool|running tool:?|tool) (\S.*)\Z"),
    re.compile(r"(\S.*)\.tool\Z"),
)
#: Keys of an object that is a call of a Python function, whatever the instrumentor adds.
_CALL_KEYS: Final = frozenset(
    {*("args", "kwargs", "sanitize_inputs_outputs", "ctx", "tags", "metadata", "inputs")}
    | {*("input_str", "self", "run_id", "name", "color")}
)


_MCP_KEYS: Final = frozenset({"content", "isError", "structuredContent", "_meta"})


def tool_name_of(span: Span, attributes: Attributes) -> str | None:
    """Give the tool's name; from the span's where no attribute has it."""
    found = attributes.name(_NAMES)
    if found is not None:
        return found
    words = span.name[:500].strip()
    for pattern in _SPAN_NAMES:
        match = pattern.match(words)
        if match:
            return values.name(match[1])
    return values.name(words)


def call_id_of(attributes: Attributes, result: Any = None) -> str | None:
    """Give the id by which the model asked for this call."""
    found = attributes.name(_CALL_IDS)
    return found or values.name(values.dig(_message(result), "tool_call_id"))


def arguments_of(span: Span, attributes: Attributes) -> Any:
    """Give what the tool was called with: the arguments, without what wraps them."""
    given = attributes.first(_ARGUMENTS)
    if given is None:
        given = _of_event(span, "gen_ai.tool.message", "content")
    if given is None:
        given = _of_details(span, transcripts.Call)
    if given is None:
        schema = values.mapping(attributes.raw.get("tool.parameters"))  # or the arguments
        given = schema if schema and not {"type", "properties"} & set(schema) else None
    return _unwrapped_arguments(values.unrepresented(given))


def raw_result_of(span: Span, attributes: Attributes) -> Any:
    """Give what the tool gave, as it was sent."""
    given = attributes.first(_RESULTS)
    if given is None:
        given = _of_event(span, "gen_ai.choice", "message")
    if given is None:
        given = _of_details(span, transcripts.Result)
    return values.unrepresented(given)


def result_of(raw: Any) -> Any:
    """Give what a tool gave without what wraps it: a message, blocks, a library's object."""
    return _unwrapped_result(raw, 0)


def _of_event(span: Span, event_name: str, key: str) -> Any:
    for event in span.events[:1000]:
        if event.name == event_name:
            return event.attributes.get(key)
    return None


def _of_details(span: Span, wanted: type[transcripts.Call] | type[transcripts.Result]) -> Any:
    """Find a call's arguments, or its result, in the messages of the whole call's event."""
    details = event_messages.details_in(span.events)
    for side in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for message in chat.messages_in(details.get(side), "tool") or ():
            for piece in transcripts.pieces_of(message):
                if isinstance(piece, wanted):
                    return (
                        piece.output if isinstance(piece, transcripts.Result) else piece.arguments
                    )
    return None


def _unwrapped_arguments(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    if "input_str" in given:  # OpenLLMetry for LangChain
        inputs = given.get("inputs")
        return inputs if inputs else values.unrepresented(given["input_str"])
    if set(given) <= _CALL_KEYS and ("args" in given or "kwargs" in given):
        args, kwargs = given.get("args"), given.get("kwargs")
        if kwargs or not args:
            return values.decoded(kwargs) if not args else {"args": args, **values.mapping(kwargs)}
        return args[0] if isinstance(args, list) and len(args) == 1 else args
    arguments = given.get("arguments")
    if arguments is not None and set(given) <= {"arguments", "name", "id", "type", "params"}:
        return values.decoded(arguments)
    return given


def _unwrapped_result(given: Any, depth: int) -> Any:
    given = values.decoded(given)
    if depth > 4:
        return given
    message = _message(given)
    if message is not None:
        return _unwrapped_result(message.get("content"), depth + 1)
    if isinstance(given, dict):
        if "raw_output" in given and "tool_name" in given:  # LlamaIndex
            return _unwrapped_result(given["raw_output"], depth + 1)
        if "response" in given and set(given) <= {"id", "name", "response"}:  # Gemini
            return _unwrapped_result(given["response"], depth + 1)
        if "output" in given and set(given) <= {"output", "kwargs"}:
            return _unwrapped_result(given["output"], depth + 1)
        if "content" in given and set(given) <= _MCP_KEYS:
            structured = given.get("structuredContent")
            return structured or _unwrapped_result(given["content"], depth + 1)
    if isinstance(given, list) and len(given) == 1:
        block = given[0]
        words = values.dig(block, "text")
        if isinstance(words, str) and set(block) <= {"text", "type", "annotations"}:
            return _unwrapped_result(words, depth + 1)
        inner = values.dig(block, "toolResult")
        if isinstance(inner, dict):
            return _unwrapped_result(inner.get("content"), depth + 1)
    return given


def _message(given: Any) -> Mapping[str, Any] | None:
    """Give the tool message in a result, whichever way LangChain writes it."""
    given = values.decoded(given)
    for _ in range(4):
        if not isinstance(given, dict):
            return None
        if "tool_call_id" in given and "content" in given:
            return given
        kwargs, data, output = (given.get(key) for key in ("kwargs", "data", "output"))
        if "lc" in given and isinstance(kwargs, dict):
            given = kwargs
        elif given.get("type") == "tool" and isinstance(data, dict):
            given = data
        elif "output" in given and set(given) <= {"output", "kwargs"}:
            given = values.decoded(output)
        else:
            return None
    return None
