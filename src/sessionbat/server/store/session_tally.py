"""What events add to the summaries of their sessions; whatever the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sessionbat.event import LLM, RETRIEVAL, TOOL
from sessionbat.server.reading.figures import Label, Reading, Title

#: What an app goes by: its name, or its number in a store.
App = TypeVar("App")

_NO_TITLE: Final = Title(-1, "", 0)  # any event has a better one


@dataclass(slots=True)
class Tally:
    """What some events add to their session."""

    first_at_us: int
    last_at_us: int
    title: Title = _NO_TITLE
    observations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    retrievals: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    latency_ms: float = 0.0
    interaction_ids: set[str] = field(default_factory=set)
    label_sets: set[frozenset[Label]] = field(default_factory=set)

    def add(self, reading: Reading) -> None:
        """Add one event."""
        at_us, kind = reading.active_at_us, reading.kind
        if at_us < self.first_at_us:
            self.first_at_us = at_us
        if at_us > self.last_at_us:
            self.last_at_us = at_us
        self.observations += 1
        if kind == LLM:
            self.llm_calls += 1
        elif kind == TOOL:
            self.tool_calls += 1
        elif kind == RETRIEVAL:
            self.retrievals += 1
        self.errors += reading.failed
        self.input_tokens += reading.input_tokens or 0
        self.output_tokens += reading.output_tokens or 0
        if reading.cost_usd is not None:
            self.cost_nanos += reading.cost_nanos
        if reading.latency_ms is not None and reading.latency_ms > self.latency_ms:
            self.latency_ms = reading.latency_ms
        self.label_sets.add(reading.own_labels)
        self.label_sets.add(reading.shared_labels)
        if reading.interaction_id is not None:
            self.interaction_ids.add(reading.interaction_id)
        if self.title.can_be_bettered_at(reading.at_us):
            title = reading.title
            if title.is_better_than(self.title):
                self.title = title


def tally_up(readings: Iterable[tuple[App, Reading]]) -> dict[tuple[App, str], Tally]:
    """Sum events up by their app and session's id."""
    tallies: dict[tuple[App, str], Tally] = {}
    for app, reading in readings:
        key = app, reading.session_id
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = Tally(reading.active_at_us, reading.active_at_us)
        tally.add(reading)
    return tallies
