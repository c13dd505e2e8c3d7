"""Splits an event into its parts, each of the expected type for any input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sessionbat.event import FEEDBACK, LLM, RETRIEVAL
from sessionbat.server.reading.chat import (
    Chat,
    answer_of,
    last_words_of_user,
    read_input,
    read_output,
)
from sessionbat.server.reading.json_values import MAX_SHOWN_VALUES, gist, is_number, mapping, text
from sessionbat.server.reading.times import are_unknown, parse_time
from sessionbat.server.reading.values import Values
from sessionbat.server.records import StoredEvent


@dataclass(frozen=True, slots=True)
class Timing:
    """When an observation ran, as far as the event tells."""

    start: datetime | None
    end: datetime | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class EventReading:
    """An event's parts, each of its expected type for any input."""

    id: str
    kind: str
    name: str
    created_at: datetime | None
    interaction_id: str | None
    tags: list[str]
    context: dict[str, Any]
    input: Any
    output: Any
    error: Any
    metadata: dict[str, Any]
    metrics: dict[str, Any]
    cost_estimated: float | None
    timing: Timing
    chat_in: Chat
    chat_out: Chat
    #: Names and values of times that are given and are none.
    unreadable_times: list[tuple[str, Any]]


def read_event(stored: StoredEvent, values: Values | None = None) -> EventReading:
    """Split an event into its parts, within the limit on values; wrong types become empty."""
    values = values or Values(MAX_SHOWN_VALUES)
    event = values.read(stored)
    observation = mapping(event.get("observation"))
    metrics = mapping(observation.get("metrics"))
    created_at = parse_time(event.get("created_at"))
    kind = text(observation.get("kind")) or text(event.get("type"))
    given_in, given_out = observation.get("input"), observation.get("output")
    if kind == FEEDBACK:  # shown alone, it is all there is
        given_out = event.get("feedback")
    tags = event.get("tags")
    return EventReading(
        id=stored.id,
        kind=kind,
        name=text(observation.get("name")),
        created_at=created_at,
        interaction_id=text(event.get("interaction_id")) or None,
        tags=[tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        context=mapping(event.get("context")),
        input=values.unwrap(given_in),
        output=values.unwrap(given_out),
        error=observation.get("error"),
        metadata=mapping(observation.get("metadata")),
        metrics=metrics,
        cost_estimated=stored.cost_estimated,
        timing=_timing(created_at, observation, metrics),
        chat_in=read_input(given_in) if kind == LLM else Chat([]),
        chat_out=read_output(given_out) if kind == LLM else Chat([]),
        unreadable_times=[
            (name, owner[name])
            for owner, name in ((event, "created_at"), (observation, "started_at"))
            if owner.get(name) is not None and parse_time(owner[name]) is None
        ],
    )


def status_of(reading: EventReading) -> str:
    """Return ``error``, a status worth showing (``cancelled``), or an empty text."""
    if reading.error is not None:
        return "error"
    status = text(reading.metadata.get("status")).strip()
    return "" if status.lower() in _GOOD else status[:40]


def asked(reading: EventReading) -> str:
    """Return the user's last words in a model call's input, or the query of a retrieval."""
    if reading.kind == LLM:
        return last_words_of_user(reading.chat_in)
    return text(mapping(reading.input).get("query")) if reading.kind == RETRIEVAL else ""


def answered(reading: EventReading) -> str:
    """Return the text of a model's answer; empty when it failed or only called tools."""
    if reading.kind != LLM or reading.error is not None:
        return ""
    answer = answer_of(reading.chat_out)
    return answer.words if answer is not None and not answer.calls else ""


def error_words(error: Any) -> tuple[str, str]:
    """Return an error's type and message; either may be empty."""
    if isinstance(error, Mapping):
        type_ = next((text(error[k]) for k in ("type", "code", "name") if error.get(k)), "")
        message = next((text(error[k]) for k in ("message", "detail") if error.get(k)), "")
        return type_, message or ("" if type_ else gist(dict(error)))
    return "", error if isinstance(error, str) else gist(error)


_GOOD: Final = frozenset({"", "ok", "success", "succeeded", "completed", "complete", "done"})


def _timing(
    created_at: datetime | None, observation: Mapping[str, Any], metrics: Mapping[str, Any]
) -> Timing:
    latency = metrics.get("latency_ms")
    if are_unknown(observation):
        created_at = None
    started_at = parse_time(observation.get("started_at"))
    if not is_number(latency) or not 0 <= latency < 1e12:
        return Timing(started_at or created_at, created_at or started_at, None)
    took = timedelta(milliseconds=latency)
    try:
        if started_at is not None:
            return Timing(started_at, started_at + took, latency)
        return Timing(created_at and created_at - took, created_at, latency)
    except OverflowError:
        return Timing(started_at or created_at, created_at or started_at, latency)
