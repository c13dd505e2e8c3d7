"""Events of Langfuse's legacy ingestion to parts: its SDKs before 3, LiteLLM, other integrations.

Each event is written as the span that Langfuse's later SDKs send by OpenTelemetry. An observation
comes whole, or as it is created and then as it is updated, in any order; ``join`` makes one of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.feedback import Said, feedback_part
from sessionbat._otel.mapping import map_span
from sessionbat._otel.model import Scope, Span
from sessionbat._otel.parts import Part
from sessionbat._otel.times import time_ns

SCOPE: Final = "langfuse"
#: The part that a trace itself is.
TRACE_SPAN: Final = "trace"

#: What an event's type begins with, and the observation's type; ``observation-`` names its own.
_TYPES: Final = (
    *("span", "generation", "event", "agent", "tool", "chain", "retriever", "evaluator"),
    *("embedding", "guardrail"),
)
_COUNTED_AS: Final = (None, "", "TOKENS")


def event_parts(
    event: Mapping[str, Any], traces: Mapping[str, str] | None = None
) -> Sequence[Part] | None:
    """Map one event of a batch; never raises.

    Args:
        event: With ``type``, ``timestamp`` and ``body``.
        traces: The trace of each observation that the batch names; updates may leave theirs out.

    Returns:
        Its parts, none for what tells of no call (a log of the SDK); None for an event without an
        id or of a type that is not known.
    """
    type_, body = values.text(event.get("type")), event.get("body")
    if type_ == "sdk-log":
        return ()
    if not isinstance(body, dict):
        return None
    if type_ == "score-create":
        part = score_part(body, time_ns(event.get("timestamp")))
        return None if part is None else (part,)
    if type_ == "trace-create":
        span = _trace_span(body)
    else:
        span = _observation_span(type_, body, traces or {})
    return None if span is None else map_span(span)


def traces_in(batch: Sequence[Any]) -> dict[str, str]:
    """Find the trace of each observation that a batch names."""
    found = {}
    for event in batch:
        id_, trace = (values.name(values.dig(event, "body", key)) for key in ("id", "traceId"))
        if id_ is not None and trace is not None:
            found[id_] = trace
    return found


def score_part(body: Mapping[str, Any], at_ns: int | None = None) -> Part | None:
    """Map a score; None for one that names no trace, observation or session."""
    value = body.get("value")
    if values.text(body.get("dataType")).upper() == "BOOLEAN" and value in (0, 1):
        value = bool(value)
    return feedback_part(
        Said(
            id=values.name(body.get("id")) or values.digest(values.canonical(body)),
            at_ns=time_ns(body.get("timestamp")) or at_ns,
            name=values.name(body.get("name")),
            value=value,
            comment=body.get("comment"),
            source=(values.name(body.get("source")) or "api").lower(),
            trace=values.name(body.get("traceId")),
            span=values.name(body.get("observationId")),
            session=values.name(body.get("sessionId")),
            environment=values.name(body.get("environment")),
        )
    )


def _trace_span(body: Mapping[str, Any]) -> Span | None:
    trace = values.name(body.get("id"))
    if trace is None:
        return None
    at = time_ns(body.get("timestamp"))
    said = {
        "session.id": values.name(body.get("sessionId")),
        "user.id": values.name(body.get("userId")),
        "langfuse.trace.name": values.name(body.get("name")),
        "langfuse.trace.tags": body.get("tags"),
        "langfuse.trace.metadata": body.get("metadata"),
        "langfuse.observation.type": "span",
        **_about(body),
    }
    return _span(trace, TRACE_SPAN, None, body, (at, None), said)


def _observation_span(
    type_: str, body: Mapping[str, Any], traces: Mapping[str, str]
) -> Span | None:
    kind, _, action = type_.rpartition("-")
    if kind == "observation":
        kind = values.text(body.get("type")).lower()
    id_ = values.name(body.get("id"))
    if id_ is None or kind not in _TYPES or action not in ("create", "update"):
        return None
    trace = values.name(body.get("traceId")) or traces.get(id_) or id_
    parent = values.name(body.get("parentObservationId")) or TRACE_SPAN
    start, end = time_ns(body.get("startTime")), time_ns(body.get("endTime"))
    said = {
        "langfuse.observation.type": kind,
        "langfuse.observation.input": body.get("input"),
        "langfuse.observation.output": body.get("output"),
        "langfuse.observation.metadata": body.get("metadata"),
        "langfuse.observation.level": values.name(body.get("level")),
        "langfuse.observation.status_message": values.name(body.get("statusMessage")),
        "langfuse.observation.completion_start_time": body.get("completionStartTime"),
        "langfuse.observation.model.name": values.name(body.get("model")),
        "langfuse.observation.model.parameters": body.get("modelParameters"),
        **_figures(body),
        **_about(body),
    }
    return _span(trace, id_, parent, body, (start, start if kind == "event" else end), said)


def _figures(body: Mapping[str, Any]) -> dict[str, Any]:
    usage, details = body.get("usage"), body.get("usageDetails")
    unit = values.dig(usage, "unit")
    if isinstance(unit, str) and unit not in _COUNTED_AS:
        usage = None  # characters, images, seconds
    costs = values.mapping(body.get("costDetails")) or {
        "input": values.dig(usage, "inputCost"),
        "output": values.dig(usage, "outputCost"),
        "total": values.dig(usage, "totalCost") or values.dig(usage, "total_cost"),
    }
    said = {
        "langfuse.observation.usage_details": details,
        "langfuse.observation.usage": usage,
        "langfuse.observation.cost_details": costs,
    }
    return {key: value for key, value in said.items() if value}


def _about(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "langfuse.environment": values.name(body.get("environment")),
        "langfuse.release": values.name(body.get("release")),
    }


def _span(
    trace: str,
    id_: str,
    parent: str | None,
    body: Mapping[str, Any],
    times: tuple[int | None, int | None],
    said: Mapping[str, Any],
) -> Span:
    return Span(
        trace_id=trace,
        span_id=id_,
        parent_id=parent if parent != id_ else None,
        name=values.name(body.get("name")) or "",
        start_ns=times[0],
        end_ns=times[1],
        attributes={key: value for key, value in said.items() if value is not None},
        scope=Scope(SCOPE),
    )
