"""Parts to events, all in memory: for tests, and for a process that sees whole traces."""

from __future__ import annotations

from collections.abc import Iterable

from sessionbat._otel.joining import join
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Event, Part
from sessionbat._otel.placing import place


def assemble(parts: Iterable[Part]) -> list[Event]:
    """Join, place and apply: the events of all these parts, oldest first."""
    known: dict[SpanKey, Part] = {}
    for part in parts:
        before = known.get(part.key)
        known[part.key] = part if before is None else join(before, part)
    places = place({key: part.facts for key, part in known.items()})
    events = [
        found.apply(event)
        for key, found in places.items()
        if (event := known[key].event) is not None
    ]
    return sorted(events, key=_when)


def _when(event: Event) -> tuple[str, str, str]:
    observation = event.get("observation", {})
    began = observation.get("started_at") or event.get("created_at") or ""
    return str(began), str(event.get("created_at") or ""), event["id"]
