"""A score, a thumb or a comment that somebody gave of a trace, a span or a session, as a part.

It belongs to the session of what it names, and may come before that. An event of the type
``feedback`` is no observation: it has the object ``feedback`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sessionbat._otel import values
from sessionbat._otel.envelopes import id_of, time_of
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Event, Facts, Part, unplaced
from sessionbat.event import (
    FEEDBACK,
    MAX_COMMENT_CHARACTERS,
    MAX_LABEL_CHARACTERS,
    is_event_id,
)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said, and of what; at least one of trace, run and session is there."""

    id: str
    at_ns: int | None
    #: What was judged: ``thumbs``, ``correctness``.
    name: str | None
    #: A number, True or False, or a word.
    value: Any
    comment: Any = None
    source: str | None = None
    trace: str | None = None
    #: The span within the trace; where no trace is named, a run of LangSmith.
    span: str | None = None
    session: str | None = None
    app: str = ""
    environment: str | None = None


def feedback_part(said: Said) -> Part | None:
    """Make the part; None where it names nothing that it is about."""
    if not (said.trace or said.span or said.session):
        return None
    key = SpanKey(said.trace or said.span or f"feedback-{said.id}", f"feedback-{said.id}")
    facts = Facts(
        kind="feedback",
        parent=said.span,
        session=said.session,
        start_ns=said.at_ns,
        run=said.span if said.trace is None else None,
        is_of_session=not (said.trace or said.span),
    )
    return Part(key, facts, values.plain_event(_event(said, key)))


def latest(one: Part, other: Part) -> Part:
    """Give the later of two with one id: a score may be given anew."""
    return max(one, other, key=_when)


def _when(part: Part) -> tuple[int, str]:
    event = part.event and unplaced(part.event)
    return part.facts.start_ns or 0, values.canonical(event)


def _event(said: Said, key: SpanKey) -> Event:
    score, word = _score(said.value), values.name(said.value if isinstance(said.value, str) else "")
    label = f"{said.name}: {word}" if said.name and word else said.name or word
    return {
        "type": FEEDBACK,
        "id": said.id if is_event_id(said.id) else id_of(key),
        "created_at": time_of(said.at_ns),
        "app": said.app,
        "session_id": "",
        "interaction_id": None,
        "tags": [],
        "context": {"environment": said.environment} if said.environment else {},
        FEEDBACK: {
            "score": score,
            "label": label[:MAX_LABEL_CHARACTERS] if label else None,
            "comment": _text(said.comment),
            "source": said.source,
            "observation_id": None,
            "outcome": None,
            "reason": None,
        },
    }


def _score(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return int(value)
    return None if isinstance(value, str) else values.number(value)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    words = value if isinstance(value, str) else values.canonical(value)
    return words[:MAX_COMMENT_CHARACTERS]
