"""An event's attributes by the GenAI semantic conventions, for backends that are not SessionBat.

What they have no name for is in ``sessionbat.*`` only. Values: text, numbers, lists of texts;
messages, arguments and documents are JSON in a text, which every backend takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.message_writing import answered_messages, asked_messages, system_parts
from sessionbat.event import FEEDBACK, LLM, RETRIEVAL, TOOL

Attributes = dict[str, Any]

_USAGE: Final = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_creation_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
_FRACTIONS: Final = {
    key: f"gen_ai.request.{key}"
    for key in ("temperature", "top_p", "frequency_penalty", "presence_penalty")
}
_WHOLE_NUMBERS: Final = {
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
#: By which backends group spans into sessions and users, and filter.
_CONTEXT: Final = {"user_id": "user.id", "environment": "deployment.environment.name"}
_OPERATIONS: Final = {LLM: "chat", TOOL: "execute_tool", RETRIEVAL: "retrieval"}


def operation_of(event: Mapping[str, Any]) -> str:
    """Give ``gen_ai.operation.name``: of the conventions where they have one, else the type."""
    said = values.name(values.dig(event, "observation", "metadata", names.OPERATION))
    type_ = values.text(event.get("type"))
    return said if said and type_ == LLM else _OPERATIONS.get(type_, type_)


def span_attributes_of(event: Mapping[str, Any]) -> Attributes:
    """Give the attributes, without those that are not known."""
    session = values.text(event.get("session_id"))
    made: Attributes = {
        "gen_ai.conversation.id": session,
        "session.id": session,  # how OpenInference and Langfuse call it
        "gen_ai.operation.name": operation_of(event),
    }
    context = values.mapping(event.get("context"))
    _put(made, {name: _word(context.get(key)) for key, name in _CONTEXT.items()})
    observation = values.mapping(event.get("observation"))
    metadata = values.mapping(observation.get("metadata"))
    _put(made, _common(observation, metadata))
    of_kind = _OF_KIND.get(values.text(event.get("type")))
    if of_kind is not None:
        _put(made, of_kind(observation, metadata))
    return made


def evaluation_of(event: Mapping[str, Any]) -> Attributes | None:
    """Give the attributes of ``gen_ai.evaluation.result``; None for what is no feedback."""
    if event.get("type") != FEEDBACK:
        return None
    feedback = values.mapping(event.get("feedback"))
    made: Attributes = {
        "gen_ai.evaluation.name": "outcome" if feedback.get("outcome") else FEEDBACK
    }
    said = {
        "gen_ai.evaluation.score.value": _float(feedback.get("score")),
        "gen_ai.evaluation.score.label": _word(feedback.get("label") or feedback.get("outcome")),
        "gen_ai.evaluation.explanation": _word(feedback.get("comment") or feedback.get("reason")),
    }
    _put(made, said)
    return made


def _common(observation: Mapping[str, Any], metadata: Mapping[str, Any]) -> Attributes:
    error = observation.get("error")
    failed = {} if error is None else {"error.type": _word(values.dig(error, "type")) or "_OTHER"}
    return {
        **failed,
        "gen_ai.provider.name": _word(metadata.get("provider")),
        "gen_ai.agent.name": _word(metadata.get("agent")),
        "http.response.status_code": values.count(
            values.dig(observation, "metrics", "http_status")
        ),
    }


def _of_llm(observation: Mapping[str, Any], metadata: Mapping[str, Any]) -> Attributes:
    metrics = values.mapping(observation.get("metrics"))
    model, reason = _word(metadata.get("model")), _word(metadata.get("finish_reason"))
    parameters = values.mapping(metadata.get("parameters"))
    first = values.number(metrics.get("time_to_first_token_ms"))
    asked, answered = observation.get("input"), observation.get("output")
    return {
        "gen_ai.request.model": model,
        "gen_ai.response.model": model if observation.get("error") is None else None,
        "gen_ai.response.id": _word(metadata.get("response_id")),
        "gen_ai.response.finish_reasons": [reason] if reason else None,
        "gen_ai.response.time_to_first_chunk": None if first is None else round(first / 1000, 6),
        "gen_ai.usage.cost": _float(metrics.get("cost_usd")),
        **{name: values.count(metrics.get(key)) for key, name in _USAGE.items()},
        **{name: _float(parameters.get(key)) for key, name in _FRACTIONS.items()},
        **{name: values.count(parameters.get(key)) for key, name in _WHOLE_NUMBERS.items()},
        "gen_ai.system_instructions": _json(system_parts(asked) or None),
        "gen_ai.input.messages": _json(asked_messages(asked) or None),
        "gen_ai.output.messages": _json(answered_messages(answered, reason or "stop") or None),
    }


def _of_tool(observation: Mapping[str, Any], metadata: Mapping[str, Any]) -> Attributes:
    return {
        "gen_ai.tool.name": _word(observation.get("name")),
        "gen_ai.tool.call.id": _word(metadata.get("tool_call_id")),
        "gen_ai.tool.type": _word(metadata.get("tool_type")) or "function",
        "gen_ai.tool.call.arguments": _json(observation.get("input")),
        "gen_ai.tool.call.result": _json(observation.get("output")),
    }


def _of_retrieval(observation: Mapping[str, Any], metadata: Mapping[str, Any]) -> Attributes:
    query = values.dig(observation.get("input"), "query")
    documents = values.dig(observation.get("output"), "documents")
    return {
        "gen_ai.data_source.id": _word(metadata.get("index")) or _word(observation.get("name")),
        "gen_ai.request.top_k": values.number(metadata.get("top_k")),
        "gen_ai.retrieval.query.text": query if isinstance(query, str) else _json(query),
        "gen_ai.retrieval.documents": _json(documents),
    }


_OF_KIND: Final[dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Attributes]]] = {
    LLM: _of_llm,
    TOOL: _of_tool,
    RETRIEVAL: _of_retrieval,
}


def _word(value: Any) -> str | None:
    return (values.text(value) if isinstance(value, str | int) else "") or None


def _float(value: Any) -> float | None:
    found = values.number(value)
    return None if found is None else float(found)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _put(made: Attributes, found: Mapping[str, Any]) -> None:
    made.update({name: value for name, value in found.items() if value is not None})
