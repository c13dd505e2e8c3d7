"""When the first token of a streamed answer came, whichever way the sender says it."""

from __future__ import annotations

from typing import Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.endings import latency_ms
from sessionbat._otel.model import Span
from sessionbat._otel.times import time_ns

#: Attribute and what turns its unit into milliseconds.
_AFTER_START: Final = {
    "gen_ai.response.time_to_first_chunk": 1000.0,
    "gen_ai.client.operation.time_to_first_chunk": 1000.0,
    "gen_ai.server.time_to_first_token": 1.0,  # Strands, the only one that writes it
    "ai.response.msToFirstChunk": 1.0,
    "ai.stream.msToFirstChunk": 1.0,
    "llm.time_to_first_token": 1000.0,
}
_ALL: Final = Names(*_AFTER_START)
_MOMENT: Final = Names("langfuse.observation.completion_start_time")
_EVENTS: Final = frozenset(
    {
        *("First Token Stream Event", "gen_ai.content.completion.chunk", "ai.stream.firstChunk"),
        *("llm.content.completion.chunk", "new_token", "gen_ai.response.first_chunk"),
    }
)


def time_to_first_token_ms(span: Span, attributes: Attributes) -> float | None:
    """Give the milliseconds from the call's start to its first token; None where unknown."""
    for each in attributes.present(_ALL):
        after = values.number(attributes.raw[each])
        if after is not None and after >= 0:
            return round(after * _AFTER_START[each], 3)
    if span.start_ns is None:
        return None
    return latency_ms(span.start_ns, first_token_ns(span, attributes))


def first_token_ns(span: Span, attributes: Attributes) -> int | None:
    """Give when the first token came; None where the span does not say so by a time."""
    if not span.events and not attributes.present(_MOMENT):
        return None
    start = span.start_ns or 0
    moments = [_moment_ns(attributes)] + [
        event.time_ns for event in span.events if event.name in _EVENTS
    ]
    return min((at for at in moments if at is not None and at >= start), default=None)


def _moment_ns(attributes: Attributes) -> int | None:
    return time_ns(values.decoded(attributes.raw.get(*_MOMENT)))  # an ISO time, quoted as JSON is
