"""Spans for tests, in few words."""

from __future__ import annotations

import json
from typing import Any

from sessionbat._otel.assembling import assemble
from sessionbat._otel.mapping import map_span
from sessionbat._otel.model import Scope, Span, SpanEvent

START = 1_796_000_000 * 10**9
Q = "Where is my order A-1001?"
A = "It arrives on Friday."
ORDER = {"order_id": "A-1001"}
SHIPPED = {"status": "shipped"}
ASKED = [{"role": "user", "parts": [{"type": "text", "content": Q}]}]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": A}]}]


def span(name: str = "chat", at: float = 0, took: float = 1, **more: Any) -> Span:
    """Make a span of trace ``t``; its id is its name, attributes that are no text become JSON."""
    scope = Scope(more.pop("scope", "some.scope"), "", more.pop("resource", {}))
    made: dict[str, Any] = {
        "trace_id": "t",
        "span_id": name,
        "parent_id": None,
        "name": name,
        "start_ns": START + int(at * 1e9),
        "end_ns": START + int((at + took) * 1e9),
        "attributes": {},
        **more,
    }
    return Span(scope=scope, **made)


def genai(name: str = "chat", at: float = 0, **more: Any) -> Span:
    """Make a model call of the GenAI conventions."""
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(ASKED),
        "gen_ai.output.messages": json.dumps(ANSWERED),
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 18,
        **more.pop("attributes", {}),
    }
    said = {key: value for key, value in said.items() if value is not None}
    return span(name, at, attributes=said, **more)


def happened(name: str, after: float = 0.5, **attributes: Any) -> SpanEvent:
    """Make an event of a span."""
    return SpanEvent(name, START + int(after * 1e9), attributes)


def events(*spans: Span) -> list[dict[str, Any]]:
    """Give the events that these spans make."""
    return assemble([part for each in spans for part in map_span(each)])
