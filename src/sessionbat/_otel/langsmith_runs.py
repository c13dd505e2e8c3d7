"""A run of LangSmith's own protocol to parts, by way of the span that LangSmith makes of it.

A run comes whole, or first its beginning (``post``) and later its end (``patch``), in any order;
``join`` makes one of both. An end that does not name its kind is kept as it came until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import langsmith_ids, values
from sessionbat._otel.envelopes import id_of, time_of
from sessionbat._otel.mapping import map_span
from sessionbat._otel.model import Scope, Span, SpanEvent, SpanKey
from sessionbat._otel.parts import Event, Facts, Kind, Part
from sessionbat._otel.times import time_ns

SCOPE: Final = "langsmith"
MAX_EVENTS: Final = 1000

#: In an untyped run's output; read again when its kind is known.
_RUN: Final = "langsmith_run"
_TYPES: Final[dict[Kind, str]] = {
    "llm": "llm",
    "tool": "tool",
    "retrieval": "retriever",
    "structure": "chain",
}
_CALLS: Final = ("llm", "embedding")
#: In an answer, where the figures of a call are; the first that is there wins.
_USAGE: Final = (
    ("usage_metadata",),
    ("generations", 0, 0, "message", "kwargs", "usage_metadata"),
    ("generations", 0, "message", "kwargs", "usage_metadata"),
    ("usage",),
    ("llm_output", "token_usage"),
    ("llm_output", "usage"),
    ("llmOutput", "tokenUsage"),
    ("message", "usage_metadata"),
    ("output", "usage_metadata"),
)
_MODEL: Final = (
    ("model",),
    ("llm_output", "model_name"),
    ("llm_output", "model"),
    ("generations", 0, 0, "message", "kwargs", "response_metadata", "model_name"),
    ("generations", 0, 0, "message", "kwargs", "response_metadata", "model"),
)
#: Settings of a model call among its metadata.
_SETTINGS: Final = {
    "ls_temperature": "temperature",
    "ls_max_tokens": "max_tokens",
    "ls_stop": "stop_sequences",
}
_PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "seed", "stream", "reasoning_effort")


def run_parts(run: Mapping[str, Any]) -> Sequence[Part]:
    """Map a run, or what is known of one; never raises. Empty for a run without an id."""
    span = run_span(run)
    if span is None:
        return ()
    if values.name(run.get("run_type")) is None:
        return (_untyped(span, run),)
    own, *others = map_span(span)
    facts = own.facts._replace(run=_reference(span))
    return (Part(own.key, facts, own.event), *others)


def typed(part: Part, kind: Kind) -> Part:
    """Read a part that did not say of what kind its run is, now that this is known."""
    kept = values.dig(part.event, "observation", "output", _RUN)
    if not isinstance(kept, dict) or kind not in _TYPES:
        return part
    span = run_span({**kept, "run_type": _TYPES[kind]})
    if span is None:
        return part
    own = map_span(span)[0]
    return Part(part.key, own.facts._replace(run=part.facts.run), own.event)


def run_span(run: Mapping[str, Any]) -> Span | None:
    """Make the span that LangSmith would send of a run by OpenTelemetry; None without an id."""
    own = langsmith_ids.id_of_run(run.get("id"))
    if own is None:
        return None
    order = run.get("dotted_order")
    parent = langsmith_ids.id_of_run(run.get("parent_run_id")) or langsmith_ids.parent_in(order)
    trace = langsmith_ids.id_of_run(run.get("trace_id")) or langsmith_ids.trace_in(order) or own
    error = values.text(run.get("error"))
    extra = _object(run.get("extra"))
    return Span(
        trace_id=trace,
        span_id=own,
        parent_id=parent if parent != own else None,
        name=values.name(run.get("name")) or "",
        start_ns=time_ns(run.get("start_time")) or langsmith_ids.start_in(order),
        end_ns=time_ns(run.get("end_time")),
        status="error" if error else "unset",
        status_message=error,
        attributes=_attributes(run, extra),
        events=_events(run.get("events")),
        scope=_scope(extra),
    )


def _untyped(span: Span, run: Mapping[str, Any]) -> Part:
    kept = {key: value for key, value in run.items() if key not in ("attachments", "serialized")}
    key = SpanKey(span.trace_id, span.span_id)
    facts = Facts(
        kind="log",
        parent=span.parent_id,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        scope=SCOPE,
        run=_reference(span),
        is_untyped=True,
    )
    event: Event = {
        "type": "llm",
        "id": id_of(key),
        "created_at": time_of(span.end_ns) or time_of(span.start_ns),
        "app": values.name(run.get("session_name")) or "",
        "session_id": "",
        "interaction_id": None,
        "tags": [],
        "context": {},
        "observation": {
            "kind": "llm",
            "name": None,
            "started_at": time_of(span.start_ns),
            "input": None,
            "output": {_RUN: kept},
            "error": None,
            "metadata": {},
            "metrics": {},
        },
    }
    return Part(key, facts, values.plain_event(event))


def _reference(span: Span) -> str | None:
    """Name a run for feedback that does not say in which trace it is; a root's is its trace."""
    return span.span_id if span.span_id != span.trace_id else None


def _attributes(run: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    inputs, outputs = run.get("inputs"), run.get("outputs")
    is_over = run.get("end_time") is not None
    metadata = _object(extra.get("metadata"))
    said = {
        "langsmith.span.kind": values.name(run.get("run_type")),
        "langsmith.trace.name": values.name(run.get("name")),
        "langsmith.trace.session_name": values.name(run.get("session_name")),
        "langsmith.span.tags": run.get("tags"),
        "gen_ai.prompt": inputs,
        "gen_ai.completion": outputs if outputs or is_over else None,
        "gen_ai.tool.call.id": values.name(extra.get("tool_call_id")),
        **_of_model_call(inputs, outputs, extra, metadata),
        **{f"langsmith.metadata.{key}": value for key, value in metadata.items()},
    }
    is_call = values.name(run.get("run_type")) in _CALLS
    usage = metadata.get("usage_metadata") or (_first(outputs, _USAGE) if is_call else None)
    said["langsmith.metadata.usage_metadata"] = usage
    said["gen_ai.cost.total_cost"] = values.dig(usage, "total_cost")
    return {key: value for key, value in said.items() if value is not None}


def _of_model_call(
    inputs: Any, outputs: Any, extra: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    parameters = {
        **{name: metadata.get(key) for key, name in _SETTINGS.items()},
        **_object(metadata.get("ls_invocation_params")),
        **{key: value for key in _PARAMETERS if (value := values.dig(inputs, key)) is not None},
        **_object(extra.get("invocation_params")),
    }
    tools = parameters.pop("tools", None) or values.dig(inputs, "tools")
    parameters.pop("metadata", None)
    return {
        "gen_ai.request.model": parameters.get("model") or values.dig(inputs, "model"),
        "gen_ai.response.model": _first(outputs, _MODEL),
        "gen_ai.tool.definitions": tools,
        "llm.invocation_parameters": {k: v for k, v in parameters.items() if v is not None},
    }


def _events(given: Any) -> list[SpanEvent]:
    made = []
    for each in values.listed(given)[:MAX_EVENTS]:
        name, at = values.name(values.dig(each, "name")), time_ns(values.dig(each, "time"))
        if name is not None and at is not None:
            made.append(SpanEvent(name, at, {}))
    return made


def _scope(extra: Mapping[str, Any]) -> Scope:
    runtime = _object(extra.get("runtime"))
    revision = values.name(values.dig(extra, "metadata", "revision_id"))
    resource = {"service.version": revision} if revision else {}
    return Scope(SCOPE, values.name(runtime.get("sdk_version")) or "", resource)


def _first(payload: Any, paths: Sequence[Sequence[Any]]) -> Any:
    found = (values.dig(payload, *path) for path in paths)
    return next((each for each in found if each), None)


def _object(value: Any) -> Mapping[str, Any]:
    found = values.mapping(value)
    return {key: inner for key, inner in found.items() if isinstance(key, str)}
