"""Feedback and outcomes, as they are recorded."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from sessionbat import SessionBat, current_interaction, current_session
from sessionbat._delivery.oversize import cut_line
from sessionbat.event import MIN_EVENT_BYTES, find_problem
from sessionbat.testing import Recording
from sessionbat.transports import MemoryTransport

EVERY_FIELD = {"score", "label", "comment", "source", "observation_id", "outcome", "reason"}


@pytest.fixture
def recording() -> Recording:
    return Recording(app="support-bot", default_tags=["production"])


def said(recording: Recording) -> dict[str, Any]:
    fields: dict[str, Any] = recording.only(kind="feedback")["feedback"]
    return fields


def test_feedback_is_an_event_of_its_own_shape(recording: Recording) -> None:
    session = recording.client.session(session_id="thread_123", context={"user_id": "u"})
    interaction = session.interaction(interaction_id="turn_7")
    observation_id = interaction.llm(model="m", output="Hi")
    event_id = interaction.feedback(
        score=0.5, label="thumbs_up", comment="Quick!", observation_id=observation_id
    )

    event = recording.only(kind="feedback")
    assert event.pop("created_at")
    assert event == {
        "type": "feedback", "id": event_id, "app": "support-bot", "session_id": "thread_123",
        "interaction_id": "turn_7", "tags": ["production"], "context": {"user_id": "u"},
        "feedback": {
            "score": 0.5, "label": "thumbs_up", "comment": "Quick!", "source": "user",
            "observation_id": observation_id, "outcome": None, "reason": None,
        },
    }  # fmt: skip


def test_feedback_of_a_session_names_no_turn(recording: Recording) -> None:
    event_id = recording.client.session(session_id="s").feedback(
        label="good", source="reviewer", tags=["beta"], context={"page": "end"}
    )

    event = recording.only(kind="feedback")
    assert event["id"] == event_id
    assert event["interaction_id"] is None
    assert event["tags"] == ["production", "beta"]
    assert event["context"] == {"page": "end"}
    assert event["feedback"]["source"] == "reviewer"


def test_an_outcome_is_what_the_app_says(recording: Recording) -> None:
    recording.client.session().outcome("failed", reason="the card was declined")

    assert said(recording) == {
        **dict.fromkeys(EVERY_FIELD),
        "source": "app", "outcome": "failed", "reason": "the card was declined",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1, 1), (-0.25, -0.25), (True, 1), (False, 0), (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25), (0, 0), (2**60, 2**60),
    ],
)  # fmt: skip
def test_a_score_is_a_finite_number(recording: Recording, given: Any, kept: float) -> None:
    recording.client.session().feedback(score=given)

    score = said(recording)["score"]
    assert score == kept
    assert type(score) in (int, float)
    assert recording.client.stats().mended == {}


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf, "5", [1], 2**70, object(), {}])
def test_a_score_that_is_none_is_left_out_and_counted(recording: Recording, given: Any) -> None:
    recording.client.session().feedback(score=given, comment="kept")

    assert said(recording)["score"] is None
    assert said(recording)["comment"] == "kept"
    assert recording.client.stats().mended == {"bad-score": 1}


def test_feedback_that_says_nothing_is_counted(recording: Recording) -> None:
    recording.client.session().feedback(comment="", observation_id="o1")

    assert said(recording)["comment"] is None
    assert recording.client.stats().mended == {"empty-feedback": 1}


@pytest.mark.parametrize(
    ("given", "kept"),
    [("step-1", "step-1"), (7, "7"), ("é", None), ("x" * 129, None), ("", None), (["a"], None)],
)
def test_it_names_an_observation_by_an_id_or_none(
    recording: Recording, given: Any, kept: str | None
) -> None:
    recording.client.session().feedback(score=1, observation_id=given)

    assert said(recording)["observation_id"] == kept
    mended = {"bad-observation-id": 1} if kept is None else {}
    assert recording.client.stats().mended == mended


@pytest.mark.parametrize("field", ["label", "comment", "source"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [("\ud800", "\ufffd"), (5, "5"), (True, "true"), (["a"], '["a"]'), (Decimal(2), "2")],
)
def test_texts_are_texts_whatever_is_given(
    recording: Recording, field: str, given: Any, kept: str
) -> None:
    recording.client.session().feedback(score=1, **{field: given})

    assert said(recording)[field] == kept


@pytest.mark.parametrize(("field", "longest"), [("label", 256), ("comment", 8192), ("source", 256)])
def test_texts_are_bounded_where_a_reader_can_see_it(
    recording: Recording, field: str, longest: int
) -> None:
    session = recording.client.session()
    for text in ("x" * longest, "x" * (longest + 1)):
        session.feedback(score=1, **{field: text})

    whole, cut = (event["feedback"][field] for event in recording.events())
    assert whole == "x" * longest
    assert len(cut) <= longest
    assert cut.endswith(" characters]")


@pytest.mark.parametrize("character", ["x", "é", "😀", "\x01"])
def test_an_event_of_feedback_keeps_to_the_limit(character: str) -> None:
    with Recording(max_event_bytes=MIN_EVENT_BYTES) as recording:
        session = recording.client.session(context={"k": character * 60_000})
        session.feedback(comment=character * 9000, label=character * 300)
        session.outcome(character * 300, reason=character * 9000)

        assert len(recording.events()) == 2
        for event in recording.events():
            assert len(json.dumps(event, ensure_ascii=False).encode()) <= MIN_EVENT_BYTES * 1.05
            assert event["session_id"] == session.session_id


def test_it_never_raises_on_what_cannot_be_encoded(recording: Recording) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __float__ = __bool__ = __str__  # type: ignore[assignment]

    wrong: Any = Hostile()
    session = recording.client.session()
    assert session.feedback(score=wrong, label=wrong, comment=wrong, observation_id=wrong)
    assert session.interaction().feedback(source=wrong, tags=wrong, context=wrong)
    assert session.outcome(wrong, reason=wrong)
    assert len(recording.events()) == 3
    assert all(find_problem(event) is None for event in recording.events())


def test_after_close_it_returns_an_id_and_is_counted() -> None:
    with Recording() as recording:
        session = recording.client.session()
    assert session.feedback(score=1) != session.outcome("helped")
    assert recording.events() == []
    assert recording.client.stats().dropped == {"closed": 2}


def test_outside_any_session_it_is_counted_and_nothing_raises() -> None:
    assert current_session().feedback(score=1)
    assert current_session().outcome("helped")
    assert current_interaction().feedback(score=1)


def test_it_is_left_out_with_its_session_when_that_is_not_sampled() -> None:
    with Recording(sample_rate=0.0) as recording:
        assert recording.client.session().feedback(score=1)
        assert recording.client.stats().sampled_out == 1


def test_a_transport_that_raises_costs_the_event_and_nothing_else() -> None:
    class Broken(MemoryTransport):
        def take(self, event_id: str, line: bytes) -> None:
            raise OSError("full")

    client = SessionBat(app="a", transport=Broken())
    assert client.session().feedback(score=1)
    assert client.stats().mended == {}


def test_it_is_no_step_of_what_was_done(recording: Recording) -> None:
    interaction = recording.client.session().interaction()
    interaction.llm(model="m")
    interaction.feedback(score=1)
    interaction.tool_call(tool_name="t")

    assert recording.steps() == ["llm", "tool t"]
    assert len(recording.events()) == 3
    assert recording.events(name="t")[0]["type"] == "tool"


def test_a_mask_function_sees_feedback_and_may_change_or_withhold_it() -> None:
    def mask(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["type"] == "feedback":
            if event["feedback"]["label"] == "secret":
                return None
            event["feedback"]["comment"] = event["feedback"]["comment"].upper()
        return event

    with Recording(mask=mask) as recording:
        session = recording.client.session()
        session.feedback(comment="hello", score=1)
        session.feedback(label="secret")
        assert said(recording)["comment"] == "HELLO"
        assert recording.client.stats().dropped == {"masked": 1}


def test_names_of_a_mask_reach_the_fields_and_the_id_stays() -> None:
    with Recording(mask=["comment", "score", re.compile("step")]) as recording:
        recording.client.session().feedback(
            score=1, comment="hello", label="step by step", observation_id="step-1"
        )
        assert said(recording) == {
            **dict.fromkeys(EVERY_FIELD), "source": "user", "comment": "[masked]",
            "label": "[masked] by [masked]", "observation_id": "step-1",
        }  # fmt: skip


def test_feedback_that_an_endpoint_calls_too_large_is_not_cut_again() -> None:
    assert cut_line(b'{"type": "feedback", "feedback": {"comment": "x"}}') is None


def test_feedback_needs_its_object() -> None:
    event = {"type": "feedback", "id": "1", "app": "a", "session_id": "s"}
    for wrong in (None, [], "good", 1):
        problem = find_problem({**event, "feedback": wrong})
        assert problem is not None
        assert problem.at == "feedback"
    assert find_problem({**event, "feedback": {}}) is None
    assert find_problem({**event, "feedback": {"score": 1}, "observation": None}) is None
    assert find_problem({**event, "observation": {"kind": "feedback"}}) is not None
