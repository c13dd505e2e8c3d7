"""Maps each query to the function that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sessionbat.server.store import questions
from sessionbat.server.store.questions import Answer, Question
from sessionbat.server.store.sqlite import event_list, rollups, session_list, text_search
from sessionbat.server.store.sqlite.connections import Reader

ANSWERS: Final[Mapping[type[Question[Any]], Callable[[Reader, Any], Any]]] = {
    questions.SessionsQuery: session_list.list_sessions,
    questions.SessionQuery: session_list.get_session,
    questions.IdleSessionsQuery: session_list.list_idle,
    questions.AppsQuery: session_list.list_apps,
    questions.AppActivityQuery: session_list.list_app_activity,
    questions.EventsQuery: event_list.list_events,
    questions.EventQuery: event_list.find_event,
    questions.FeedbackQuery: event_list.list_feedback,
    questions.SearchQuery: text_search.search,
    questions.StatisticsQuery: rollups.sum_up,
}


def answer(reader: Reader, question: Question[Answer]) -> Answer:
    """Answer a query with a borrowed reader."""
    found: Answer = ANSWERS[type(question)](reader, question)
    return found
