"""Which model answered, whose it is, and how it was asked."""

from __future__ import annotations

from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names

_RESPONSE: Final = Names(
    *("gen_ai.response.model", "ai.response.model", "llm.response.model", "llm.model_name"),
    *("langfuse.observation.model.name", "embedding.model_name", "llm.openai.model"),
    *("llm.anthropic.model", "reranker.model_name"),
)
_REQUEST: Final = Names(
    *("gen_ai.request.model", "llm.request.model", "ai.model.id", "model_name"),
    *("langsmith.metadata.ls_model_name", "traceloop.association.properties.ls_model_name"),
    "crewai.agent.llm",
)
_PROVIDER: Final = Names(
    *("gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system", "ai.model.provider"),
    *("langsmith.metadata.ls_provider", "langfuse.observation.metadata.ls_provider"),
)
#: Names of the library where a provider ought to be.
_NO_PROVIDER: Final = frozenset(
    {
        *("langchain", "langgraph", "strands-agents", "crewai", "agno", "llamaindex", "haystack"),
        *("microsoft.agent_framework", "smolagents", "dspy", "unknown"),
    }
)
_PARAMETERS: Final = (
    *("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty"),
    *("seed", "stream", "stop_sequences", "choice.count", "reasoning_effort", "encoding_formats"),
)
_REQUESTED: Final = {
    f"gen_ai.request.{each}": each.replace("choice.count", "n") for each in _PARAMETERS
}
_ALL_REQUESTED: Final = Names(*_REQUESTED)
_SETTINGS: Final = {
    "ai.settings.temperature": "temperature",
    "ai.settings.maxOutputTokens": "max_tokens",
    "ai.settings.topP": "top_p",
    "ai.settings.topK": "top_k",
}
_ALL_SETTINGS: Final = Names(*_SETTINGS)
_INVOCATION: Final = Names("llm.invocation_parameters")
_LANGFUSE: Final = Names("langfuse.observation.model.parameters")
_NOTHING: Final[tuple[Any, ...]] = (None, "", b"", [], ())


def model_of(attributes: Attributes) -> str | None:
    """Give the model that answered, else the one that was asked."""
    found = attributes.name(_RESPONSE)
    if found is None or found.lower() in ("unknown", "none"):
        found = attributes.name(_REQUEST) or found
    if found is not None:
        return found
    asked = attributes.mapping(_INVOCATION)
    return next(filter(None, (values.name(asked.get(k)) for k in ("model", "model_name"))), None)


def provider_of(attributes: Attributes) -> str | None:
    """Give the provider's name."""
    for each in attributes.present(_PROVIDER):
        found = values.name(attributes.raw[each])
        if found is not None and found.lower() not in _NO_PROVIDER:
            return found
    return None


def parameters_of(attributes: Attributes) -> dict[str, Any]:
    """Give how the model was asked: temperature and the like."""
    found: dict[str, Any] = {}
    for each in attributes.present(_ALL_REQUESTED):
        value = attributes.raw[each]
        if value not in _NOTHING:
            found[_REQUESTED[each]] = value
    for source in (_INVOCATION, _LANGFUSE):
        for key, value in attributes.mapping(source).items():
            if key in _PARAMETERS and value is not None:
                found.setdefault(key, value)
    for each in attributes.present(_ALL_SETTINGS):
        value = attributes.raw[each]
        if value not in _NOTHING:
            found.setdefault(_SETTINGS[each], value)
    return found


_RESPONSE_IDS: Final = Names(
    *("gen_ai.response.id", "ai.response.id", "llm.response.id", "llm.openai.id"),
    "llm.anthropic.id",
)
_CALL_NUMBER: Final = Names("gcp.vertex.agent.event_id")
_PATHS_TO_ID: Final = (
    ("id",),
    ("llm_output", "id"),
    ("generations", 0, 0, "message", "kwargs", "response_metadata", "id"),
    ("response", "id"),
)


def response_id_of(attributes: Attributes, output: Any) -> str | None:
    """Give the provider's id of the answer; OpenInference has it in the output only."""
    found = attributes.name(_RESPONSE_IDS)
    if found is not None or attributes.raw.get(*_CALL_NUMBER) is not None:
        return found or attributes.name(_CALL_NUMBER)
    for path in _PATHS_TO_ID:
        inner = values.dig(output, *path)
        if isinstance(inner, str) and inner.startswith(_ID_PREFIXES):
            return values.name(inner)
    return None


#: Of answers, not of messages or runs that a library numbers itself.
_ID_PREFIXES: Final = ("chatcmpl", "resp_", "msg_", "cmpl-", "gen-", "response_", "req_")
