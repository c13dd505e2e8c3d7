"""One span to parts; alone and without state.

Read with ``kinds`` (which operation it is), then the file that is named by the question: sessions
and users in ``host_metadata``, ``models``, ``messages``, ``tools``, ``retrievals``, ``tokens``,
``costs``, ``first_token``, ``errors``. Nothing here knows a dialect; its tables of names do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import (
    costs,
    errors,
    first_token,
    messages,
    models,
    names,
    retrievals,
    tokens,
    tools,
    values,
)
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.content_facts import mark_content, with_content
from sessionbat._otel.endings import latency_ms, mark_ending
from sessionbat._otel.envelopes import envelope_of, id_of, time_of
from sessionbat._otel.host_metadata import HostMetadata
from sessionbat._otel.kinds import What, is_http, kind_of
from sessionbat._otel.logs import map_log
from sessionbat._otel.model import Span, SpanKey
from sessionbat._otel.own_events import own_part
from sessionbat._otel.parts import Event, Facts, Part
from sessionbat._otel.transcript_parts import Asker

__all__ = ["map_log", "map_span"]

_AGENTS_MESSAGES: Final = "pydantic_ai.all_messages"
_OUTPUT: Final = Names("output.value", "gen_ai.completion")
_AGENT_NAMES: Final = Names("traceloop.entity.name", "ai.telemetry.functionId")
_TOOL_TYPE: Final = Names("gen_ai.tool.type")
_SERVER: Final = Names("fastmcp.server.name", "mcp.server.name")
_SOURCE: Final = Names("traceloop.entity.name", "gen_ai.data_source.id")
_TOP_K: Final = Names("gen_ai.request.top_k", "db.vector.query.top_k")
_RERANKER: Final = Names("reranker.model_name")
#: Attributes of the host's own kept in ``metadata.attributes``, and how long a text each.
MAX_OTHER_ATTRIBUTES: Final = 50
MAX_OTHER_CHARACTERS: Final = 1000


def map_span(span: Span) -> Sequence[Part]:
    """Map a span; never raises. Its own part is first, then tool calls known from its messages."""
    attributes = Attributes(span.attributes)
    own = own_part(span, attributes)
    if own is not None:
        return (own,)
    reading = _Reading(span, attributes)
    part = reading.part()
    return (part, *reading.transcript_tools(part), *reading.last_question())


class _Reading:
    """One span, read once for each of its parts."""

    def __init__(self, span: Span, attributes: Attributes) -> None:
        self.span = span
        self.attributes = attributes
        self.key = SpanKey(span.trace_id, span.span_id)
        self.what: What = kind_of(span, attributes)
        self.host = HostMetadata(attributes)
        self.failure = errors.failure_of(span, attributes)
        self.conversation = messages.Conversation([], [])

    def part(self) -> Part:
        """Give the span's own part."""
        is_structure = self.what.kind == "structure"
        sums = tokens.sums_of(self.attributes) if is_structure else {}
        facts = self._facts()
        stands_for_calls = bool(sums) or (self.what.is_agent and self.failure is not None)
        if is_structure and (facts["is_http"] or not stands_for_calls):
            return Part(self.key, Facts(**facts), None)
        facts["has_sums"] = is_structure
        event = self._event("llm" if is_structure else self.what.kind)
        observation = event["observation"]
        if self.what.kind == "tool":
            facts |= self._fill_tool(observation)
        elif self.what.kind == "retrieval":
            self._fill_retrieval(observation)
        else:
            facts |= self._fill_llm(observation, sums)
        self._fill_common(event, facts)
        event = values.plain_event(event)
        made = Facts(**facts)
        mark_content(event, made)
        mark_ending(event, made)
        return Part(self.key, with_content(made, event), event)

    def transcript_tools(self, part: Part) -> Sequence[Part]:
        """Give the tool calls known only from this request's messages."""
        if self.what.kind != "llm" or self.what.operation:
            return ()
        asker = Asker(self.key, self.span.scope, self.host, self.span.start_ns)
        app = part.event["app"] if part.event else ""
        return asker.tools(self.conversation.asked, part.facts, app)

    def last_question(self) -> Sequence[Part]:
        """Give what a failed agent's last call was asked: Pydantic AI says it on the agent only."""
        if not (self.what.is_agent and self.failure is not None):
            return ()
        if self.attributes.raw.get(_AGENTS_MESSAGES) is None:
            return ()
        asked = messages.conversation_of(self.span, self.attributes).asked
        if not asked or asked[-1].get("role") == "assistant":
            return ()
        key = SpanKey(self.key.trace, f"{self.key.span}.asked")
        event = self._event("llm")
        event["id"] = id_of(key)
        event["created_at"] = event["observation"]["started_at"] = None
        event["observation"]["metrics"].clear()
        event["observation"]["input"] = {"messages": asked}
        _put(
            event["observation"]["metadata"],
            instrumentation=self.span.scope.name or None,
            trace_id=self.key.trace,
            span_id=self.key.span,
        )
        about: dict[str, Any] = {"kind": "llm", "parent": self.key.span, "is_agent": False}
        about |= {"is_log": True, "is_question": True, "start_ns": None, "end_ns": None}
        event = values.plain_event(event)
        return (Part(key, with_content(Facts(**self._facts() | about), event), event),)

    def _facts(self) -> dict[str, Any]:
        """Give the facts that do not depend on the content, by their names."""
        span, host = self.span, self.host
        is_agent = self.what.is_agent
        agent = host.agent or (values.name(self._agent_from_name()) if is_agent else None)
        return {
            "kind": self.what.kind,
            "parent": span.parent_id or None,
            "session": host.session,
            "user": host.user,
            "start_ns": span.start_ns,
            "end_ns": span.end_ns,
            "scope": span.scope.name[: values.MAX_NAME_CHARACTERS],
            "operation": self.what.operation,
            "is_agent": is_agent,
            "agent": agent,
            "node": host.node,
            "error_type": self.failure.type if self.failure else None,
            "is_http": is_http(span, self.attributes),
        }

    def _agent_from_name(self) -> str:
        said = self.attributes.name(_AGENT_NAMES)
        words = said or self.span.name
        for prefix in ("invoke_agent ", "create_agent "):
            words = words.removeprefix(prefix)
        return words.removesuffix(".agent")

    def _event(self, kind: str) -> Event:
        span = self.span
        event = envelope_of(kind, self.key, span.scope, span.attributes, self.host)
        event["created_at"] = time_of(span.end_ns) or time_of(span.start_ns)
        observation = event["observation"]
        observation["started_at"] = time_of(span.start_ns)
        took = latency_ms(span.start_ns, span.end_ns)
        if took is not None:
            observation["metrics"]["latency_ms"] = took
        if self.failure is not None:
            if self.failure.is_cancelled:
                observation["metadata"][names.STATUS] = "cancelled"
            else:
                observation["error"] = self.failure.to_event()
        return event

    def _fill_llm(self, observation: dict[str, Any], sums: Mapping[str, int]) -> dict[str, Any]:
        attributes = self.attributes
        is_embedding = self.what.operation == names.EMBEDDINGS
        metadata, metrics = observation["metadata"], observation["metrics"]
        output = attributes.decoded(_OUTPUT)
        if is_embedding:
            observation["input"] = messages.embedded_in(attributes)
        else:
            self.conversation = talk = messages.conversation_of(self.span, attributes)
            observation["input"], observation["output"] = talk.input, talk.output
            reason, raw = talk.finish_reason, talk.raw_finish_reason
            _put(metadata, finish_reason=reason, finish_reason_raw=raw)
        _put(
            metadata,
            model=models.model_of(attributes),
            provider=models.provider_of(attributes),
            parameters=models.parameters_of(attributes) or None,
            response_id=(found := models.response_id_of(attributes, output)),
        )
        _put(metrics, **(sums or tokens.tokens_of(attributes)))
        if self.what.kind == "structure":
            metadata[names.AGGREGATE] = True
            return {}
        if is_http(self.span, attributes) and self.failure is not None:
            _forget_earlier_calls(observation)
        _put(
            metrics,
            time_to_first_token_ms=first_token.time_to_first_token_ms(self.span, attributes),
        )
        facts: dict[str, Any] = {"response_id": None if is_embedding else found}
        if self.span.start_ns is None:  # known when its beginning comes
            facts["first_token_ns"] = first_token.first_token_ns(self.span, attributes)
        return facts

    def _fill_tool(self, observation: dict[str, Any]) -> dict[str, Any]:
        raw = tools.raw_result_of(self.span, self.attributes)
        tool = tools.tool_name_of(self.span, self.attributes)
        call_id = tools.call_id_of(self.attributes, raw)
        observation["name"] = tool
        observation["input"] = tools.arguments_of(self.span, self.attributes)
        observation["output"] = tools.result_of(raw)
        _put(
            observation["metadata"],
            tool_call_id=call_id,
            tool_type=self.attributes.name(_TOOL_TYPE),
            server=self.attributes.name(_SERVER),
        )
        return {"tool": tool, "call_id": call_id}

    def _fill_retrieval(self, observation: dict[str, Any]) -> None:
        documents = retrievals.documents_of(self.attributes)
        observation["name"] = values.name(self.attributes.first(_SOURCE))
        query = retrievals.query_of(self.attributes)
        observation["input"] = None if query is None else {"query": query}
        if documents is not None:
            observation["output"] = {"documents": documents}
            observation["metrics"]["documents_found"] = len(documents)
        _put(
            observation["metadata"],
            top_k=values.number(self.attributes.first(_TOP_K)),
            model=self.attributes.name(_RERANKER),
        )

    def _fill_common(self, event: Event, facts: Mapping[str, Any]) -> None:
        observation, attributes = event["observation"], self.attributes
        metadata, metrics = observation["metadata"], observation["metrics"]
        _put(
            metrics,
            cost_usd=None if facts["is_http"] and self.failure else costs.cost_of(attributes),
            http_status=None
            if facts["is_http"]
            else errors.http_status_of(attributes, self.failure),
        )
        _put(
            metadata,
            operation=self.what.operation or None,
            step=self.host.step,
            instrumentation=facts["scope"] or None,
            trace_id=self.key.trace,
            span_id=self.key.span,
            attributes=_others(attributes) or None,
        )
        for key, value in self.host.metadata.items():
            metadata.setdefault(key, value)


def _forget_earlier_calls(observation: dict[str, Any]) -> None:
    """Keep what a failed call left on a request's span: the rest is of calls before it.

    LiteLLM writes all calls of a request onto the one span, each over the last.
    """
    observation["output"] = None
    observation["metadata"].pop("finish_reason", None)
    observation["metadata"].pop("finish_reason_raw", None)
    for metric in [each for each in observation["metrics"] if each.endswith("_tokens")]:
        del observation["metrics"][metric]


def _put(target: dict[str, Any], **found: Any) -> None:
    for key, value in found.items():
        if value is not None:
            target[key] = value


#: What conventions and libraries write; anything else is the host's own.
_KNOWN: Final = (
    *("gen_ai.", "llm.", "openinference.", "ai.", "traceloop.", "langfuse.", "langsmith."),
    *("logfire.", "input.", "output.", "tool.", "embedding.", "retrieval.", "reranker."),
    *("exception.", "code.", "thread.", "process.", "telemetry.", "session.", "user.", "tag."),
    *("http.", "url.", "server.", "client.", "net.", "network.", "otel.", "service.", "host."),
    *("sessionbat.", "openai.", "anthropic.", "gcp.", "crewai.", "pydantic_ai.", "litellm."),
    *("mcp.", "fastmcp.", "jsonrpc.", "error.", "metadata", "event_loop.", "mlflow.", "graph."),
    *("agent.", "prompt.", "db.", "vector_db.", "rpc.", "hidden_params", "operation."),
)
_KNOWN_WHOLE: Final = frozenset(
    {
        *("tags", "model_name", "agent_name", "final_result", "model_request_parameters", "events"),
        *("all_messages_events", "tool_arguments", "tool_response", "operation.name"),
        *("resource.name", "message", "request_data", "response_data"),
    }
)


def _is_the_hosts(name: str) -> bool:
    return not name.startswith(_KNOWN) and name not in _KNOWN_WHOLE


def _others(attributes: Attributes) -> dict[str, Any]:
    """Keep what the host itself wrote on the span: a few short values."""
    kept: dict[str, Any] = {}
    for key in attributes.chosen(_is_the_hosts):
        if len(kept) >= MAX_OTHER_ATTRIBUTES:
            break
        value = attributes.raw[key]
        is_short = not isinstance(value, str) or 0 < len(value) <= MAX_OTHER_CHARACTERS
        if isinstance(value, str | int | float) and is_short:
            kept[key] = value
    return kept
