"""View model of a session: a header, then its turns, each with the question and the answer.

A turn is an interaction: the user's last words, the AI's final answer, and the observations in
between, in order. A long session is shown a page at a time; ``Place`` carries the state that a page
needs from the pages before it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sessionbat.event import FEEDBACK, LLM, RESERVED_CONTEXT
from sessionbat.server.pages.view import units
from sessionbat.server.pages.view.budget import ON_A_PAGE, Limits, Room
from sessionbat.server.pages.view.feedback import (
    FeedbackView,
    SaidOfSession,
    present_feedback,
)
from sessionbat.server.pages.view.history import History
from sessionbat.server.pages.view.json_text import Clipped
from sessionbat.server.pages.view.observation import (
    Fact,
    ObservationView,
    context_facts,
    present_observation,
)
from sessionbat.server.reading.event_reading import (
    EventReading,
    answered,
    asked,
    error_words,
    read_event,
    status_of,
)
from sessionbat.server.reading.json_values import gist
from sessionbat.server.reading.values import Values
from sessionbat.server.records import StoredEvent


@dataclass(frozen=True, slots=True)
class Place:
    """A page's position in its session, with totals of the pages before it."""

    observations: int = 0
    turns: int = 0
    #: The last interaction of the page before, which may continue here.
    last_turn: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """An observation's place on its turn's time axis, in percent of it."""

    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Step:
    """An observation and where in its turn's time it ran."""

    observation: ObservationView
    bar: Bar | None
    feedback: list[FeedbackView]


@dataclass(frozen=True, slots=True)
class Turn:
    """One interaction; ``asked`` and ``answered`` are None when not recorded."""

    #: Counted from the session's start; None for observations that name no interaction.
    number: int | None
    continued: bool
    interaction_id: str | None
    asked: Clipped | None
    answered: Clipped | None
    #: The answer's event, or the last event when there is no answer.
    last_id: str
    answer_id: str | None
    #: Whether a model was called, so that a missing answer is mentioned.
    has_model_calls: bool
    #: The status of that event; empty on success.
    status: str
    started: datetime | None
    duration_ms: float | None
    steps: list[Step]
    tally: list[str]
    errors: int
    feedback: list[FeedbackView]

    @property
    def title(self) -> str:
        """The user's words, in one line."""
        return gist(self.asked.text, 70) if self.asked else ""

    @property
    def content_off(self) -> str:
        """How to switch content on, if the sender of a step keeps it to itself; else empty."""
        switches = (each.observation.content_off for each in self.steps)
        return next(filter(None, switches), "")


@dataclass(frozen=True, slots=True)
class Failure:
    """Observations that failed with the same error, as the page's header lists them."""

    label: str
    words: str
    event_ids: list[str]


@dataclass(frozen=True, slots=True)
class SessionView:
    """The view of one page of a session."""

    turns: list[Turn]
    failures: list[Failure]
    #: Observations of this page that failed.
    failed: int
    context: list[Fact]
    tags: list[str]
    models: list[str]
    first_observation: int
    last_observation: int
    #: The position of the next page.
    next_place: Place
    #: Of the whole session: the outcome, and all feedback.
    said: SaidOfSession


def present_session(
    events: Sequence[StoredEvent],
    place: Place | None = None,
    limits: Limits = ON_A_PAGE,
    said: Sequence[StoredEvent] | None = None,
) -> SessionView:
    """Build the view of one page of a session.

    Args:
        events: The events of this page, oldest first.
        place: The page's position in the session.
        limits: The limits on how much is shown.
        said: All feedback of the session; an event among it is shown only there. If None, an event
            of feedback is shown like any other.
    """
    place = place or Place()
    values = Values(limits.page_values, limits.event_values)
    readings = [read_event(event, values) for event in events]
    if said is not None:
        readings = [reading for reading in readings if reading.kind != FEEDBACK]
    context, tags = _shared_context(readings), _shared_tags(readings)
    room = Room(limits)
    observations = _present_all(readings, room, context, set(tags))
    presented = present_feedback(said or (), (r.id for r in readings), values, room)
    turns = list(_present_turns(readings, observations, place, room, presented))
    return SessionView(
        turns=turns,
        failures=_failures(readings),
        failed=sum(r.error is not None for r in readings),
        context=context_facts(_reserved_first(context)),
        tags=tags,
        models=_models(readings),
        first_observation=place.observations + 1,
        last_observation=place.observations + len(readings),
        next_place=Place(
            place.observations + len(readings),
            max([place.turns, *(turn.number for turn in turns if turn.number is not None)]),
            _turn_key(readings[-1]) if readings else place.last_turn,
        ),
        said=presented,
    )


def _present_all(
    readings: list[EventReading], room: Room, context: dict[str, Any], tags: set[str]
) -> dict[int, ObservationView]:
    history = History()
    return {id(r): present_observation(r, history, room, context, tags) for r in readings}


def _by_interaction(readings: list[EventReading]) -> list[list[EventReading]]:
    """Group by interaction, in order of appearance; adjacent events without one are a group."""
    groups: list[list[EventReading]] = []
    named: dict[str, list[EventReading]] = {}
    for reading in readings:
        key = reading.interaction_id
        if key is not None and key in named:
            named[key].append(reading)
        elif key is None and groups and groups[-1][0].interaction_id is None:
            groups[-1].append(reading)
        else:
            groups.append([reading])
            if key is not None:
                named[key] = groups[-1]
    return groups


def _present_turns(
    readings: list[EventReading],
    observations: dict[int, ObservationView],
    place: Place,
    room: Room,
    said: SaidOfSession,
) -> Iterator[Turn]:
    number = place.turns
    for index, group in enumerate(_by_interaction(readings)):
        continued = index == 0 and _turn_key(group[0]) == place.last_turn
        is_named = group[0].interaction_id is not None
        number += is_named and not continued
        yield _present_turn(
            group, observations, number if is_named else None, continued, room, said
        )


def _turn_key(reading: EventReading) -> str:
    name = reading.interaction_id
    return "none" if name is None else f"{zlib.crc32(name.encode('utf-8', 'replace')):08x}"


def _present_turn(
    group: list[EventReading],
    observations: dict[int, ObservationView],
    number: int | None,
    continued: bool,
    room: Room,
    said: SaidOfSession,
) -> Turn:
    start, end = _extent(group)
    answer = next((r for r in reversed(group) if answered(r)), None)
    failed_after = answer is not None and any(
        r.error is not None and r.kind == "llm" for r in group[group.index(answer) + 1 :]
    )
    if failed_after:
        answer = None
    question = None if continued else _asked(group)
    return Turn(
        number=number,
        continued=continued,
        interaction_id=group[0].interaction_id,
        asked=room.clip(question) if question else None,
        answered=room.clip(answered(answer)) if answer else None,
        last_id=(answer or group[-1]).id,
        answer_id=answer.id if answer else None,
        has_model_calls=any(r.kind == "llm" for r in group),
        status=status_of(answer or group[-1]),
        started=start,
        duration_ms=(end - start).total_seconds() * 1000 if start and end else None,
        steps=[
            Step(observations[id(r)], _bar(r, start, end), said.of_observations.get(r.id, []))
            for r in group
        ],
        tally=_tally(group),
        errors=sum(r.error is not None for r in group),
        feedback=said.of_turns.get(group[0].interaction_id or "", []),
    )


def _asked(group: list[EventReading]) -> str:
    for reading in group:
        if reading.kind == LLM:
            return asked(reading)
    return next((words for words in map(asked, group) if words), "")


def _extent(group: list[EventReading]) -> tuple[datetime | None, datetime | None]:
    starts = [r.timing.start for r in group if r.timing.start is not None]
    ends = [r.timing.end for r in group if r.timing.end is not None]
    return min(starts, default=None), max(ends, default=None)


def _bar(reading: EventReading, start: datetime | None, end: datetime | None) -> Bar | None:
    timing = reading.timing
    if start is None or end is None or timing.start is None or timing.latency_ms is None:
        return None
    whole = (end - start).total_seconds() * 1000
    if whole <= 0:
        return None
    width = min(100.0, max(1.5, timing.latency_ms / whole * 100))
    offset = (timing.start - start).total_seconds() * 1000 / whole * 100
    return Bar(round(max(0.0, min(offset, 100 - width)), 2), round(width, 2))


_KINDS: Final = {
    "llm": ("model call", "model calls"),
    "tool": ("tool call", "tool calls"),
    "retrieval": ("retrieval", "retrievals"),
}


def _tally(group: list[EventReading]) -> list[str]:
    counts = Counter(r.kind for r in group)
    return [
        f"{units.count(n)} {_KINDS.get(kind, (kind, kind))[n != 1]}" for kind, n in counts.items()
    ]


def _failures(readings: list[EventReading]) -> list[Failure]:
    failures: dict[tuple[str, str], Failure] = {}
    for reading in readings:
        if reading.error is None:
            continue
        label = gist(reading.name or str(reading.metadata.get("model") or reading.kind), 60)
        words = gist(": ".join(part for part in error_words(reading.error) if part), 160)
        failure = failures.setdefault((label, words), Failure(label, words, []))
        failure.event_ids.append(reading.id)
    return list(failures.values())


def _shared_context(readings: list[EventReading]) -> dict[str, Any]:
    if not readings:
        return {}
    first, *others = (reading.context for reading in readings)
    missing = object()
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key, missing) == value for other in others)
    }


def _reserved_first(context: dict[str, Any]) -> dict[str, Any]:
    reserved: dict[str, Any] = {key: context[key] for key in RESERVED_CONTEXT if key in context}
    return {**reserved, **context}


def _shared_tags(readings: list[EventReading]) -> list[str]:
    if not readings:
        return []
    everywhere = set(readings[0].tags).intersection(*(r.tags for r in readings))
    return [tag for tag in dict.fromkeys(readings[0].tags) if tag in everywhere]


def _models(readings: list[EventReading]) -> list[str]:
    models = (r.metadata.get("model") for r in readings if r.kind == "llm")
    return list(dict.fromkeys(model for model in models if isinstance(model, str) and model))[:6]
