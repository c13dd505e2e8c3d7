"""Whether a call is over, and how long it took, once its beginning and end are both known."""

from __future__ import annotations

from typing import Final

from sessionbat._otel import names
from sessionbat._otel.parts import Event, Facts

_CALLS: Final = frozenset({"llm", "tool", "retrieval"})


def mark_ending(event: Event, facts: Facts) -> None:
    """Write into an event how long the call took, or that its end has not come.

    Written anew whenever more is known: an end that comes later takes the mark away.
    """
    if facts.kind not in _CALLS or facts.is_log or facts.from_transcript or facts.event_id:
        return
    observation = event["observation"]
    metadata, metrics = observation["metadata"], observation["metrics"]
    if facts.start_ns is not None and facts.end_ns is None and observation["error"] is None:
        metadata.setdefault(names.STATUS, names.UNFINISHED)
        return
    if metadata.get(names.STATUS) == names.UNFINISHED:
        del metadata[names.STATUS]
    for metric, until in (
        ("latency_ms", facts.end_ns),
        ("time_to_first_token_ms", facts.first_token_ns),
    ):
        took = latency_ms(facts.start_ns, until)
        if took is not None:
            metrics.setdefault(metric, took)


def latency_ms(start_ns: int | None, end_ns: int | None) -> float | None:
    """Give the time between; None where one is not known or they are the wrong way round."""
    if start_ns is None or end_ns is None or end_ns < start_ns:
        return None
    return round((end_ns - start_ns) / 1e6, 3)
