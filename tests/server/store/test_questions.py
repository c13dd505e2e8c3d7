"""A question is a class: every store answers it, and one function narrows it to an app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.records import Page, ReceivedEvent
from sessionbat.server.store import questions
from sessionbat.server.store.opening import Store, open_store
from sessionbat.server.store.questions import Question
from sessionbat.server.store.scoped import Visible
from sessionbat.server.store.sqlite.answers import ANSWERS

DAY = {"since": datetime(2026, 11, 22, tzinfo=UTC), "until": datetime(2026, 11, 23, tzinfo=UTC)}
#: One of each kind, about an app or, where it may, about none.
ASKED: dict[str, Question[Any]] = {
    "sessions": questions.SessionsQuery(),
    "sessions of b": questions.SessionsQuery(app="b"),
    "session": questions.SessionQuery("b", "s"),
    "events": questions.EventsQuery("b", "s"),
    "event": questions.EventQuery("b", "s", "e"),
    "feedback": questions.FeedbackQuery("b", "s"),
    "search": questions.SearchQuery("word"),
    "search in b": questions.SearchQuery("word", app="b"),
    "statistics": questions.StatisticsQuery(by="day", **DAY),  # type: ignore[arg-type]
    "idle": questions.IdleSessionsQuery(),
    "apps": questions.AppsQuery(),
    "activity of apps": questions.AppActivityQuery(),
    "activity of b": questions.AppActivityQuery("b"),
    "apps called b": questions.AppsQuery("b"),
}


def kinds() -> set[type]:
    return {
        each
        for each in vars(questions).values()
        if isinstance(each, type) and issubclass(each, Question) and each.__name__.endswith("Query")
    }


def received(app: str) -> ReceivedEvent:
    event = {
        "id": "e", "type": "tool", "created_at": "2026-11-22T10:00:00Z", "app": app,
        "session_id": "s", "observation": {"kind": "tool", "name": "lookup", "output": "word"},
    }  # fmt: skip
    return ReceivedEvent(json.dumps(event).encode(), event, 1_800_000_000_000_000)


def said(app: str) -> ReceivedEvent:
    event = {
        "id": "f", "type": "feedback", "created_at": "2026-11-22T10:00:00Z", "app": app,
        "session_id": "s", "feedback": {"score": 1},
    }  # fmt: skip
    return ReceivedEvent(json.dumps(event).encode(), event, 1_800_000_000_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}")) as opened:
        opened.append([received("a"), received("b"), said("a"), said("b")])
        opened.rebuild()  # so that search and statistics have it
        yield opened


def test_every_question_is_tried_here_and_has_an_answer() -> None:
    assert kinds() == {type(each) for each in ASKED.values()} == set(ANSWERS)


@pytest.mark.parametrize("question", ASKED.values(), ids=ASKED)
def test_without_limits_everything_is_seen(store: Store, question: Question[Any]) -> None:
    said = Visible(store, None).ask(question)
    assert said == store.ask(question)
    assert said != question.nothing()


@pytest.mark.parametrize("question", ASKED.values(), ids=ASKED)
def test_a_key_of_one_app_sees_nothing_of_another(store: Store, question: Question[Any]) -> None:
    said = Visible(store, "a").ask(question)
    assert "'b'" not in repr(said)
    if question.app == "b":
        assert said == question.nothing()
    else:
        assert said != question.nothing()
        assert count_of(said) == 1


def count_of(said: Any) -> int:
    if isinstance(said, Page):
        return len(said.items)
    (only,) = said
    return int(getattr(only, "count", 1)) if not isinstance(only, str) else 1


@pytest.mark.parametrize("question", ASKED.values(), ids=ASKED)
def test_a_forbidden_app_costs_no_query(question: Question[Any]) -> None:
    class Unasked:
        def ask(self, question: Question[Any]) -> Any:
            raise AssertionError

    if question.app is not None:
        unasked: Any = Unasked()
        assert Visible(unasked, "a").ask(question) == question.nothing()


def test_a_method_takes_what_its_question_takes(store: Store) -> None:
    assert store.get_session("b", "s") == store.ask(questions.SessionQuery("b", "s"))
    assert store.list_apps(app="b") == ["b"]
    with pytest.raises(TypeError, match="nonsense"):
        store.list_sessions(nonsense=1)  # type: ignore[call-arg]
