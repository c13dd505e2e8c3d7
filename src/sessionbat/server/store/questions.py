"""Queries to the store as frozen classes: their parameters, and the type of the answer.

To add a query, add a class here and a line in ``Asking``; a store answers it with one function.
The field ``app`` limits a query to one app; ``scoped`` sets it to the app that a key may see. All
other fields are the query's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from sessionbat.server.records import (
    AppActivity,
    Group,
    Page,
    SearchHit,
    SessionFilter,
    SessionSort,
    SessionSummary,
    Span,
    Statistic,
    StoredEvent,
)

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Values = ParamSpec("Values")


class Question(Generic[Answer]):
    """A read-only query; frozen."""

    __slots__ = ()

    #: The only app that it is about; None: every app.
    app: str | None

    def nothing(self) -> Answer:
        """Return the answer of an empty store."""
        raise NotImplementedError


class _AskingForPage(Question[Page[Item]]):
    __slots__ = ()

    def nothing(self) -> Page[Item]:
        return Page([], None)


class _AskingForList(Question[list[Item]]):
    __slots__ = ()

    def nothing(self) -> list[Item]:
        return []


class _AskingForOne(Question[Item | None]):
    __slots__ = ()

    def nothing(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsQuery(_AskingForPage[SessionSummary]):
    """List sessions of one app or of all: the latest, longest, most expensive or worst first.

    Answering raises ValueError when ``after`` is no cursor of this store and this order.
    """

    app: str | None = None
    where: SessionFilter = SessionFilter()  # noqa: RUF009 - frozen
    sort: SessionSort = "last_activity"
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True, slots=True)
class SessionQuery(_AskingForOne[SessionSummary]):
    """Sum up one session; None when there is none."""

    app: str
    session_id: str


@dataclass(frozen=True, slots=True)
class EventsQuery(_AskingForPage[StoredEvent]):
    """List a session's events, oldest first, at most ``limit``; fewer when they are large.

    The order is by ``created_at`` (or the time of receipt, if that is missing or unreadable), then
    by receipt. An observation is recorded when it is complete, so this is the order in which the
    app learned of things. ``started_at`` is often null, and a guess would mix certain with
    uncertain times.

    Answering raises ValueError when ``after`` is no cursor of this store.
    """

    app: str
    session_id: str
    _: KW_ONLY
    limit: int = 200
    after: str | None = None


@dataclass(frozen=True, slots=True)
class EventQuery(_AskingForOne[StoredEvent]):
    """Find one event of a session; None when no event has that id."""

    app: str
    session_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class FeedbackQuery(_AskingForList[StoredEvent]):
    """List what was said of a session, the latest ``limit`` of it, oldest first.

    Feedback comes after what it is about, in a long session many pages after.
    """

    app: str
    session_id: str
    _: KW_ONLY
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SearchQuery(_AskingForPage[SearchHit]):
    """Find events by their words, last received first, of one app or of all.

    Events are found at most two seconds after ``append``. A query is words, ``"phrases"`` and
    ``prefix*``, all of which an event has to hold; ``query_terms`` defines its searchable text. A
    message that a session's model calls resend is found once, at the first of them. A query without
    any letter, digit or emoji finds nothing.

    Answering raises ValueError when ``after`` is no cursor of this store.
    """

    words: str
    _: KW_ONLY
    app: str | None = None
    limit: int = 20
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsQuery(_AskingForList[Statistic]):
    """Sum up observations by hour or day (UTC), oldest first, of one app or of all.

    Events are counted at most two seconds after ``append``. The hour or day that contains ``since``
    is counted completely; those from ``until`` on are not. Hours or days without events have no
    item. Grouped by model or tool, only observations that name one are counted.
    """

    by: Span
    since: datetime
    until: datetime
    app: str | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSessionsQuery(_AskingForList[SessionSummary]):
    """List sessions, the longest idle first.

    With ``before``, only sessions without activity at or after this time.
    """

    app: str | None = None
    before: datetime | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AppsQuery(_AskingForList[str]):
    """List the names of apps that have sessions, in alphabetical order."""

    app: str | None = None


@dataclass(frozen=True, slots=True)
class AppActivityQuery(_AskingForList[AppActivity]):
    """List the apps that have sessions, with their latest activity, in alphabetical order."""

    app: str | None = None


def _asks(
    question: Callable[Values, Question[Answer]],
) -> Callable[Concatenate[Any, Values], Answer]:
    """Make the method that asks a query; it takes the query's parameters."""

    def method(self: Any, /, *args: Values.args, **kwargs: Values.kwargs) -> Answer:
        answer: Answer = self.ask(question(*args, **kwargs))
        return answer

    return method


class Asking(ABC):
    """Answers queries; has a method for each, which calls ``ask``."""

    @abstractmethod
    def ask(self, question: Question[Answer]) -> Answer:
        """Answer a query; its class documents the answer."""

    list_sessions = _asks(SessionsQuery)
    get_session = _asks(SessionQuery)
    list_events = _asks(EventsQuery)
    find_event = _asks(EventQuery)
    list_feedback = _asks(FeedbackQuery)
    search = _asks(SearchQuery)
    statistics = _asks(StatisticsQuery)
    list_idle_sessions = _asks(IdleSessionsQuery)
    list_apps = _asks(AppsQuery)
    list_app_activity = _asks(AppActivityQuery)
