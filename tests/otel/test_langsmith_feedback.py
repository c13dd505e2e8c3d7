"""Feedback of LangSmith: in the session of the run that it names, also when it comes before it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sessionbat._otel.assembling import assemble
from sessionbat._otel.langsmith_feedback import langsmith_feedback
from sessionbat._otel.langsmith_runs import run_parts
from sessionbat._otel.mapping import map_span
from sessionbat._otel.parts import Part
from tests.otel.making import ORDER, genai
from tests.otel.test_captures import Store
from tests.otel.test_langsmith import OWN, ROOT, run


def feedback(**more: Any) -> Part:
    given = {"id": OWN, "run_id": ROOT, "trace_id": ROOT, "key": "thumbs", "score": 1, **more}
    part = langsmith_feedback({key: value for key, value in given.items() if value is not None})
    assert part is not None
    return part


CALL = f"{ROOT}-{OWN}".replace("-", "")
CALL = f"{CALL[:32]}-{CALL[32:]}"
ABOUT = {
    "the trace": (feedback(), None),
    "the trace, by its run alone": (feedback(trace_id=None), None),
    "a run": (feedback(run_id=OWN), CALL),
    "a run, without its trace": (feedback(run_id=OWN, trace_id=None), CALL),
}


@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("comes_first", [False, True])
def test_feedback_belongs_to_the_session_of_what_it_names(name: str, comes_first: bool) -> None:
    said, about = ABOUT[name]
    parts = [said, *run_parts(run())]
    store = Store()
    for part in parts if comes_first else reversed(parts):
        store.receive([part])
    call, event = sorted(store.events(), key=lambda each: str(each["type"]), reverse=True)
    assert call["type"] == "llm" and "observation" not in event
    assert event["session_id"] == "thread_42" and "session_from" not in event["context"]
    assert event["interaction_id"] == call["interaction_id"]
    assert event["feedback"]["observation_id"] == about
    assert event["feedback"]["score"] == 1 and event["feedback"]["label"] == "thumbs"


def test_feedback_changes_nothing_of_what_it_is_about() -> None:
    runs = [part for each in (run(), run("tool", id="b", inputs=ORDER)) for part in run_parts(each)]
    before = assemble(runs)
    after = assemble([*runs, *(feedback(id=f"f{n}", run_id=OWN) for n in range(3))])
    assert [each for each in after if each["type"] != "feedback"] == before


VALUES: dict[str, tuple[dict[str, Any], Any, Any, Any]] = {
    "a number": ({"score": 0.25}, 0.25, "thumbs", None),
    "true": ({"score": True}, 1, "thumbs", None),
    "false": ({"score": False}, 0, "thumbs", None),
    "nought": ({"score": 0}, 0, "thumbs", None),
    "a word": ({"score": None, "value": "good"}, None, "thumbs: good", None),
    "a correction": (
        {"score": None, "correction": {"answer": "B"}},
        *(None, "thumbs", '{"answer": "B"}'),
    ),
    "a comment": ({"comment": "too long"}, 1, "thumbs", "too long"),
}


@pytest.mark.parametrize("name", VALUES)
def test_scores_words_and_comments_are_kept(name: str) -> None:
    given, *wanted = VALUES[name]
    (event,) = assemble([feedback(**given)])
    assert [event["feedback"][key] for key in ("score", "label", "comment")] == wanted


def test_feedback_given_anew_is_the_later() -> None:
    one = feedback(score=0, modified_at="2026-11-28T18:20:37Z")
    other = feedback(score=1, modified_at="2026-11-28T18:20:38Z")
    for parts in ([one, other], [other, one], [one, other, one]):
        (event,) = assemble(parts)
        assert event["feedback"]["score"] == 1


def test_feedback_on_a_project_names_nothing_here() -> None:
    assert langsmith_feedback({"key": "k", "score": 1, "session_id": "a project"}) is None


def test_a_run_that_came_by_opentelemetry_is_found_by_its_feedback() -> None:
    root, own = ROOT.replace("-", ""), OWN.replace("-", "")[:16]
    attributes = {"gen_ai.conversation.id": "s"}
    span = map_span(genai("chat", trace_id=root, span_id=own, attributes=attributes))
    (event,) = (
        each for each in assemble([*span, feedback(run_id=OWN)]) if each["type"] == "feedback"
    )
    assert (event["session_id"], event["feedback"]["observation_id"]) == ("s", f"{root}-{own}")


@pytest.mark.slow
def test_much_feedback_on_one_trace_takes_no_square_of_time() -> None:
    parts = [feedback(id=f"f{n}", run_id=OWN) for n in range(20_000)]
    began = time.perf_counter()
    assert len(assemble([*run_parts(run()), *parts])) == 20_001
    assert time.perf_counter() - began < 20
