"""What somebody says of a session, as an event of feedback has it, whatever came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sessionbat.event import FEEDBACK
from sessionbat.server.reading.json_values import is_number, mapping, text
from sessionbat.server.reading.times import parse_time

_WORDS: Final = ("label", "comment", "outcome", "reason")


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said; texts that are missing or no text are empty."""

    id: str
    created_at: datetime | None
    interaction_id: str | None
    observation_id: str | None
    score: float | None
    label: str
    comment: str
    source: str
    outcome: str
    reason: str


def is_feedback(event: Mapping[str, Any]) -> bool:
    """Whether a decoded event is feedback, and no observation."""
    return event.get("type") == FEEDBACK


def read_feedback(event: Mapping[str, Any]) -> Feedback:
    """Read a decoded event of feedback."""
    given = mapping(event.get("feedback"))
    score = given.get("score")
    return Feedback(
        id=text(event.get("id")),
        created_at=parse_time(event.get("created_at")),
        interaction_id=text(event.get("interaction_id")) or None,
        observation_id=text(given.get("observation_id")) or None,
        score=score if is_number(score) else int(score) if isinstance(score, bool) else None,
        label=text(given.get("label")),
        comment=text(given.get("comment")),
        source=text(given.get("source")),
        outcome=text(given.get("outcome")),
        reason=text(given.get("reason")),
    )


def feedback_words(event: Mapping[str, Any]) -> list[str]:
    """Give the words of a decoded event of feedback, those that are texts."""
    given = mapping(event.get("feedback"))
    return [words for words in (text(given.get(name)) for name in _WORDS) if words]
