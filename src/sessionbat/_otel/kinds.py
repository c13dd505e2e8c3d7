"""Which kind of operation a span tells of: the first attribute that names one decides.

GenAI semantic conventions as of open-telemetry/semantic-conventions-genai, November 2026, and what
went before; OpenInference 0.1.42, OpenLLMetry 0.62, AI SDK 6 and 7, Langfuse 5, LangSmith 0.15.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.attributes import MAX_NAME, Attributes, Names
from sessionbat._otel.model import Span
from sessionbat._otel.parts import Kind


@dataclass(frozen=True, slots=True)
class What:
    """A kind, what it is for where that is unusual, and whether it is an agent's run."""

    kind: Kind
    operation: str = ""
    is_agent: bool = False


LLM: Final = What("llm")
TOOL: Final = What("tool")
RETRIEVAL: Final = What("retrieval")
RERANK: Final = What("retrieval", names.RERANK)
EMBEDDINGS: Final = What("llm", names.EMBEDDINGS)
AGENT: Final = What("structure", is_agent=True)
STRUCTURE: Final = What("structure")

_LANGSMITH: Final = {
    "llm": LLM,
    "tool": TOOL,
    "retriever": RETRIEVAL,
    "embedding": EMBEDDINGS,
}
_LANGFUSE: Final = {
    "generation": LLM,
    "tool": TOOL,
    "retriever": RETRIEVAL,
    "embedding": EMBEDDINGS,
    "agent": AGENT,
}
_OPENINFERENCE: Final = {
    "llm": LLM,
    "tool": TOOL,
    "retriever": RETRIEVAL,
    "reranker": RERANK,
    "embedding": EMBEDDINGS,
    "agent": AGENT,
}
_AI_SDK: Final = {
    **{
        f"ai.{made}.{done}": LLM
        for made in ("generateText", "streamText", "generateObject", "streamObject")
        for done in ("doGenerate", "doStream")
    },
    "ai.embed": EMBEDDINGS,
    "ai.embedMany": EMBEDDINGS,
    "ai.embed.doEmbed": EMBEDDINGS,
    "ai.embedMany.doEmbed": EMBEDDINGS,
    "ai.rerank.doRerank": RERANK,
    "ai.toolCall": TOOL,
    "ai.generateText": AGENT,
    "ai.streamText": AGENT,
}
_GENAI: Final = {
    **dict.fromkeys(("chat", "text_completion", "generate_content", "completion"), LLM),
    **dict.fromkeys(("responses", "response", "message", "image_generation"), LLM),
    **dict.fromkeys(("embeddings", "embedding", "embed"), EMBEDDINGS),
    **dict.fromkeys(("execute_tool", "tool_call"), TOOL),
    **dict.fromkeys(("retrieval", "vector_db_retrieve", "search_memory", "retrieve"), RETRIEVAL),
    **dict.fromkeys(("rerank",), RERANK),
    **dict.fromkeys(("invoke_agent",), AGENT),
}
_TRACELOOP: Final = {"tool": TOOL, "agent": AGENT}
_MCP: Final = {"tools/call": TOOL}
_REQUEST: Final = {
    "chat": LLM,
    "completion": LLM,
    "embedding": EMBEDDINGS,
    "rerank": RERANK,
}
_MLFLOW: Final = {
    "chat_model": LLM,
    "llm": LLM,
    "tool": TOOL,
    "retriever": RETRIEVAL,
    "reranker": RERANK,
    "embedding": EMBEDDINGS,
    "agent": AGENT,
}

_Table = tuple[dict[str, What], Callable[[str], str]]


def _as_it_is(value: str) -> str:
    return value


#: First present wins; a value that its table does not know is structure.
_TABLES: Final[dict[str, _Table]] = {
    "langsmith.span.kind": (_LANGSMITH, str.lower),
    "langfuse.observation.type": (_LANGFUSE, str.lower),
    "openinference.span.kind": (_OPENINFERENCE, str.lower),
    "ai.operationId": (_AI_SDK, _as_it_is),
    "gen_ai.operation.name": (_GENAI, str.lower),
    "traceloop.span.kind": (_TRACELOOP, str.lower),
    "mcp.method.name": (_MCP, str.lower),
    "llm.request.type": (_REQUEST, str.lower),
    "mlflow.spanType": (_MLFLOW, lambda said: said.strip('"').lower()),
}
_NAMES: Final = Names(*_TABLES)
_DATABASE: Final = Names("db.operation", "db.operation.name")

#: Attributes that a model call alone has.
_MODEL: Final = Names(
    *("gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "llm.request.model"),
    *("langfuse.observation.model.name", "ai.model.id", "llm.openai.model", "llm.anthropic.model"),
)
_VECTOR_SEARCH: Final = Names(
    "db.vector.query.top_k", "db.vector.query.embedding", "vector_db.vendor"
)
_SEARCHES: Final = ("query", "search", "retrieve", "similarity")

#: Scopes of web frameworks and HTTP clients: their spans are structure.
_HTTP_SCOPES: Final = (
    *("fastapi", "asgi", "wsgi", "flask", "django", "starlette", "aiohttp", "tornado", "falcon"),
    *("pyramid", "httpx", "requests", "urllib", "http", "undici", "express", "fastify", "koa"),
    *("nestjs", "next.js", "hono", "grpc", "instrumentation-fetch", "connect", "restify", "fetch"),
)
_HTTP_NAMES: Final = Names("http.route", "http.request.method", "http.method")


def kind_of(span: Span, attributes: Attributes) -> What:
    """Say what a span tells of; a span that nothing is known of is structure."""
    for each in attributes.present(_NAMES):
        said = values.name(attributes.raw[each])
        if said is not None:
            table, spelt = _TABLES[each]
            return table.get(spelt(said), STRUCTURE)
    if attributes.first(_VECTOR_SEARCH) is not None and _searches(span, attributes):
        return RETRIEVAL
    if attributes.first(_MODEL) is not None or span.name == "raw_gen_ai_request":
        return LLM
    return STRUCTURE


def is_http(span: Span, attributes: Attributes) -> bool:
    """Whether a span is one of a web framework or an HTTP client, whatever is written on it."""
    return attributes.first(_HTTP_NAMES) is not None and _speaks_http(span.scope.name[-MAX_NAME:])


@lru_cache(1024)
def _speaks_http(scope: str) -> bool:
    last = scope.lower().replace("@opentelemetry/instrumentation-", "").rpartition(".")[2]
    return last in _HTTP_SCOPES or scope.lower() in _HTTP_SCOPES


def _searches(span: Span, attributes: Attributes) -> bool:
    said: Any = attributes.name(_DATABASE) or span.name
    return any(word in said.lower() for word in _SEARCHES)
