"""What was said of a session as its page shows it: each beside what it is about, all in the head.

Feedback comes later than what it is about, in a long session many pages later; so a page has all
that is told of its session, and finds its own in that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sessionbat.server.pages.view import units
from sessionbat.server.pages.view.budget import Room
from sessionbat.server.pages.view.json_text import Clipped
from sessionbat.server.reading.feedback import Feedback, read_feedback
from sessionbat.server.reading.json_values import gist
from sessionbat.server.reading.values import Values
from sessionbat.server.records import StoredEvent

#: How much of a label or a source is shown.
_WORD: Final = 60


@dataclass(frozen=True, slots=True)
class FeedbackView:
    """One piece of feedback, or an outcome, ready to print."""

    id: str
    said: Feedback
    #: The label or outcome, else the score; empty where there is only a comment.
    verdict: str
    #: The score, where it is not the verdict.
    score: str
    #: The comment or reason.
    words: Clipped | None
    source: str
    created_at: datetime | None
    interaction_id: str | None
    observation_id: str | None
    is_outcome: bool


@dataclass(frozen=True, slots=True)
class SaidOfSession:
    """All that is shown of what was said, by where it belongs on this page."""

    #: Oldest first, without outcomes.
    feedback: list[FeedbackView]
    #: What the app said last of the end.
    outcome: FeedbackView | None
    #: By the id of an observation of this page.
    of_observations: dict[str, list[FeedbackView]]
    #: By the id of an interaction; about an observation of this page, it stands there instead.
    of_turns: dict[str, list[FeedbackView]]


def present_feedback(
    events: Sequence[StoredEvent], observation_ids: Iterable[str], values: Values, room: Room
) -> SaidOfSession:
    """Make what was said ready to print.

    Args:
        events: Of feedback, oldest first.
        observation_ids: The observations of this page.
        values: How much may be decoded.
        room: How much may be shown.
    """
    here = set(observation_ids)
    said = SaidOfSession([], None, {}, {})
    outcome: FeedbackView | None = None
    for event in events:
        view = _present(event.id, read_feedback(values.read(event)), room)
        if view.is_outcome:
            outcome = view
            continue
        said.feedback.append(view)
        if view.observation_id in here:
            said.of_observations.setdefault(view.observation_id or "", []).append(view)
        elif view.interaction_id is not None:
            said.of_turns.setdefault(view.interaction_id, []).append(view)
    return SaidOfSession(said.feedback, outcome, said.of_observations, said.of_turns)


def _present(event_id: str, said: Feedback, room: Room) -> FeedbackView:
    score = "" if said.score is None else units.count(said.score)
    word = gist(said.outcome or said.label, _WORD) if said.outcome or said.label else ""
    words = said.reason if said.outcome else said.comment
    return FeedbackView(
        id=event_id,
        said=said,
        verdict=word or (f"score {score}" if score else ""),
        score=score if word else "",
        words=room.clip(words) if words else None,
        source=gist(said.source, _WORD) if said.source else "",
        created_at=said.created_at,
        interaction_id=said.interaction_id,
        observation_id=said.observation_id,
        is_outcome=bool(said.outcome),
    )
