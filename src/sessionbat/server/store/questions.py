"""The questions about what is stored, each written once: what it takes, and what its answer is.

A further question is a class here and a line in ``Asking``; a store answers it with one function.
All but ``app`` is the question's own: ``app`` names the only app that it is about, and ``scoped``
sets it to the one that a key may see.
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
    """A question that only reads; frozen."""

    __slots__ = ()

    #: The only app that it is about; None: every app.
    app: str | None

    def nothing(self) -> Answer:
        """Give the answer where nothing is stored."""
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
    """List sessions of one app or of all: the latest, longest, dearest or worst first.

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

    Oldest is the earliest ``created_at`` (where it is missing or no time: when the event was
    received), and among equals the one received first. An observation is recorded when it is
    complete, so this is the order in which the app came to know things; ``started_at`` is often
    null, and a guess in its place would shuffle what is certain with what is not.

    Answering raises ValueError when ``after`` is no cursor of this store.
    """

    app: str
    session_id: str
    _: KW_ONLY
    limit: int = 200
    after: str | None = None


@dataclass(frozen=True, slots=True)
class EventQuery(_AskingForOne[StoredEvent]):
    """Find one event of a session; None when it has none of that id."""

    app: str
    session_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class SearchQuery(_AskingForPage[SearchHit]):
    """Find events by the words they hold, last received first, of one app or of all.

    What ``append`` stored is found at most two seconds later. A query is words, ``"phrases"`` and
    ``prefix*``, and an event is found when it holds each; ``search_text`` says what of an event is
    searched. A message that a session's model calls resend is found once, at the first of them. A
    query without any letter or digit finds nothing.

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

    What ``append`` stored counts at most two seconds later. The span that holds ``since`` is
    counted whole; spans from ``until`` on are not. Where nothing happened there is no item. Grouped
    by model or tool, only observations that name one count.
    """

    by: Span
    since: datetime
    until: datetime
    app: str | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSessionsQuery(_AskingForList[SessionSummary]):
    """List the sessions whose last activity is longest ago, that one first.

    With ``before``, only sessions without activity at or after this time.
    """

    app: str | None = None
    before: datetime | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AppsQuery(_AskingForList[str]):
    """Name the apps that have sessions, in alphabetical order."""

    app: str | None = None


@dataclass(frozen=True, slots=True)
class AppActivityQuery(_AskingForList[AppActivity]):
    """List the apps that have sessions, with their latest activity, in alphabetical order."""

    app: str | None = None


def _asks(
    question: Callable[Values, Question[Answer]],
) -> Callable[Concatenate[Any, Values], Answer]:
    """Make the method that asks a question; it takes what the question takes."""

    def method(self: Any, /, *args: Values.args, **kwargs: Values.kwargs) -> Answer:
        answer: Answer = self.ask(question(*args, **kwargs))
        return answer

    return method


class Asking(ABC):
    """Answers questions; a method for each, which only asks it."""

    @abstractmethod
    def ask(self, question: Question[Answer]) -> Answer:
        """Answer a question; its class says what is promised."""

    list_sessions = _asks(SessionsQuery)
    get_session = _asks(SessionQuery)
    list_events = _asks(EventsQuery)
    find_event = _asks(EventQuery)
    search = _asks(SearchQuery)
    statistics = _asks(StatisticsQuery)
    list_idle_sessions = _asks(IdleSessionsQuery)
    list_apps = _asks(AppsQuery)
    list_app_activity = _asks(AppActivityQuery)
