"""When the first token of a streamed answer came, whichever way the sender says it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sessionbat._otel import values
from sessionbat._otel.attributes import Attributes
from sessionbat._otel.model import Span

#: Attribute and what turns its unit into milliseconds.
_AFTER_START: Final = (
    ("gen_ai.response.time_to_first_chunk", 1000.0),
    ("gen_ai.client.operation.time_to_first_chunk", 1000.0),
    ("gen_ai.server.time_to_first_token", 1.0),  # Strands, the only one that writes it
    ("ai.response.msToFirstChunk", 1.0),
    ("ai.stream.msToFirstChunk", 1.0),
    ("llm.time_to_first_token", 1000.0),
)
_ALL: Final = frozenset(each for each, _ in _AFTER_START)
_MOMENT: Final = "langfuse.observation.completion_start_time"
_EVENTS: Final = frozenset(
    {
        *("First Token Stream Event", "gen_ai.content.completion.chunk", "ai.stream.firstChunk"),
        *("llm.content.completion.chunk", "new_token", "gen_ai.response.first_chunk"),
    }
)


def time_to_first_token_ms(span: Span, attributes: Attributes) -> float | None:
    """Give the milliseconds from the call's start to its first token; None where unknown."""
    for each, factor in _AFTER_START if attributes.has_any(_ALL) else ():
        after = values.number(attributes.raw.get(each))
        if after is not None and after >= 0:
            return round(after * factor, 3)
    if span.start_ns is None:
        return None
    moments = [_moment_ns(attributes)] + [
        event.time_ns for event in span.events if event.name in _EVENTS
    ]
    after_ns = [at - span.start_ns for at in moments if at is not None and at >= span.start_ns]
    return round(min(after_ns) / 1e6, 3) if after_ns else None


def _moment_ns(attributes: Attributes) -> int | None:
    said = values.decoded(attributes.raw.get(_MOMENT))  # an ISO time, quoted as JSON is
    if not isinstance(said, str) or len(said) > 64:
        return None
    try:
        at = datetime.fromisoformat(said)
        return int(at.timestamp() * 1e6) * 1000 if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
