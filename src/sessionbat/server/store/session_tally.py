"""Sums up what events add to the summaries of their sessions; independent of the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sessionbat.event import FEEDBACK, LLM, RETRIEVAL, TOOL
from sessionbat.server.reading.figures import EventFigures, Label, Title, cost_nanos

#: An app's name, or its number in a store.
App = TypeVar("App")

_NO_TITLE: Final = Title(-1, "", 0)  # any event has a better one


@dataclass(slots=True)
class Tally:
    """The sums that some events add to their session's summary."""

    first_at_us: int
    last_at_us: int
    title: Title = _NO_TITLE
    feedback: int = 0
    observations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    retrievals: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    estimated_nanos: int = 0
    latency_ms: float = 0.0
    interaction_ids: set[str] = field(default_factory=set)
    label_sets: set[frozenset[Label]] = field(default_factory=set)

    def add(self, figures: EventFigures) -> None:
        """Add one event."""
        at_us, kind = figures.active_at_us, figures.kind
        if at_us < self.first_at_us:
            self.first_at_us = at_us
        if at_us > self.last_at_us:
            self.last_at_us = at_us
        if kind == FEEDBACK:
            self.feedback += 1
        else:
            self.observations += 1
        if kind == LLM:
            self.llm_calls += 1
        elif kind == TOOL:
            self.tool_calls += 1
        elif kind == RETRIEVAL:
            self.retrievals += 1
        self.errors += figures.failed
        self.input_tokens += figures.input_tokens or 0
        self.output_tokens += figures.output_tokens or 0
        if figures.cost_usd is not None:
            self.cost_nanos += cost_nanos(figures.cost_usd)
        elif figures.estimated_usd is not None:
            self.estimated_nanos += cost_nanos(figures.estimated_usd)
        if figures.latency_ms is not None and figures.latency_ms > self.latency_ms:
            self.latency_ms = figures.latency_ms
        self.label_sets.add(figures.own_labels)
        self.label_sets.add(figures.shared_labels)
        if figures.interaction_id is not None:
            self.interaction_ids.add(figures.interaction_id)
        if self.title.can_be_bettered_at(figures.at_us):
            title = figures.title
            if title.is_better_than(self.title):
                self.title = title


def tally_up(filed: Iterable[tuple[App, EventFigures]]) -> dict[tuple[App, str], Tally]:
    """Sum up events by app and session id."""
    tallies: dict[tuple[App, str], Tally] = {}
    for app, figures in filed:
        key = app, figures.session_id
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = Tally(figures.active_at_us, figures.active_at_us)
        tally.add(figures)
    return tallies
