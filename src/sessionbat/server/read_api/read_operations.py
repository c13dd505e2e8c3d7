"""Declares the parameters and operations of the read API, each parameter once.

``endpoints`` reads requests by these declarations, and the OpenAPI document is made from them; a
test compares the table in ``docs/api.md``. Parameters shared with the pages are in
``web/session_parameters``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sessionbat.server.records import AppActivity, Group, SearchHit, SessionSummary, Span, Statistic
from sessionbat.server.web.event_schema import EVENT
from sessionbat.server.web.operations import (
    Answer,
    Operation,
    list_of,
    page_of,
    reference,
    schema_of,
)
from sessionbat.server.web.parameters import Choice, Schema, Text, Time
from sessionbat.server.web.session_parameters import (
    AFTER,
    APP,
    ITS_APP,
    SESSION_ID,
    limit,
    session_list,
)

MAX_LIMIT: Final = 1000
#: The most hours or days of one statistics query.
MAX_SPANS: Final = 1000

#: The schemas that answers refer to by name.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Event": EVENT,
    "App": schema_of(AppActivity),
    "Session": schema_of(SessionSummary),
    "SearchHit": schema_of(SearchHit),
    "Statistic": schema_of(Statistic),
}


SESSIONS_LIMIT: Final = limit(50, MAX_LIMIT)
EVENTS_LIMIT: Final = limit(200, MAX_LIMIT)
SEARCH_LIMIT: Final = limit(20, MAX_LIMIT)
FROM: Final = Time(name="from", description="from this time on; UTC without a zone")
TO: Final = Time(name="to", description="before this time")

WORDS: Final = Text(
    name="q",
    description='words, `"phrases in quotation marks"` and `prefix*`; all have to match',
    required=True,
)
BY: Final[Choice[Span]] = Choice(
    name="by", description="the length of a span, UTC", choices=("hour", "day"), default="day"
)
GROUP: Final[Choice[Group]] = Choice(
    name="group",
    description="figures of each app, model or tool",
    choices=("app", "model", "tool"),
)


_REFUSALS: Final = {
    400: ("unknown-parameter", "repeated-parameter"),
    405: ("method-not-allowed",),
    503: ("query-too-slow", "store-failed", "store-closed"),
}


def _refusals(*slugs: str, not_found: bool = False) -> dict[int, tuple[str, ...]]:
    refusals = {**_REFUSALS, 400: _REFUSALS[400] + slugs}
    if not_found:
        refusals[404] = ("no-such-session",)
    return refusals


def sessions(context_keys: Sequence[str]) -> Operation:
    """Declare the list of sessions, with these context keys as further filters."""
    return Operation(
        path="/api/v1/sessions",
        name="sessions",
        summary="Sessions, the latest activity first",
        description="Lists the sessions that meet every condition given.",
        parameters=session_list(context_keys, SESSIONS_LIMIT),
        answer=Answer("A page of sessions.", page_of(reference("Session"))),
        refusals=_refusals("bad-parameter", "bad-time", "bad-limit", "bad-after"),
    )


SESSION: Final = Operation(
    path="/api/v1/session",
    name="session",
    summary="The summary of one session",
    parameters=(ITS_APP, SESSION_ID),
    answer=Answer("The session.", reference("Session")),
    refusals=_refusals("missing-parameter", not_found=True),
)

EVENTS: Final = Operation(
    path="/api/v1/events",
    name="events",
    summary="A session's events as received, oldest first",
    parameters=(ITS_APP, SESSION_ID, EVENTS_LIMIT, AFTER),
    answer=Answer(
        "A page of events, byte for byte; it ends early once it holds 8 MiB.",
        page_of(reference("Event")),
    ),
    refusals=_refusals("missing-parameter", "bad-limit", "bad-after", not_found=True),
)

_IN_PART: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 1000,
    "description": "Events that the search may miss: only the beginning of each is searched,"
    " because its text is very long or has very many different words. At most 1,000 are counted.",
}
SEARCH: Final = Operation(
    path="/api/v1/search",
    name="search",
    summary="Events that match a query, last received first",
    description="Events are found at most two seconds after they were stored.",
    parameters=(WORDS, APP, SEARCH_LIMIT, AFTER),
    answer=Answer(
        "A page of matching events.",
        page_of(reference("SearchHit"), searched_in_part=_IN_PART),
    ),
    refusals={
        **_refusals("missing-parameter", "bad-limit", "bad-after"),
        501: ("no-search",),
    },
)

APPS: Final = Operation(
    path="/api/v1/apps",
    name="apps",
    summary="The apps that have sessions, with their latest activity",
    parameters=(APP,),
    answer=Answer(
        "The apps that the key may see, in alphabetical order.",
        list_of(reference("App")),
    ),
    refusals=_refusals(),
)

STATISTICS: Final = Operation(
    path="/api/v1/statistics",
    name="statistics",
    summary="Figures by hour or day (UTC), oldest first",
    description=(
        f"At most {MAX_SPANS} spans; without `from` the last 24 hours or 30 days. Events count at"
        " most two seconds after they were stored."
    ),
    parameters=(BY, FROM, TO, APP, GROUP),
    answer=Answer(
        "The spans that have events.",
        list_of(reference("Statistic")),
    ),
    refusals=_refusals("bad-parameter", "bad-time", "too-many-spans"),
)
