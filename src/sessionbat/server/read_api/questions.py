"""What the read API can be asked: each parameter once, and the operations that take them.

``api`` reads requests by these and turns ``FILTERS`` into a ``SessionFilter``; the OpenAPI document
and the table in ``docs/api.md`` say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat.event import RESERVED_CONTEXT
from sessionbat.server.records import Group, SearchHit, SessionSort, SessionSummary, Span, Statistic
from sessionbat.server.web.event_schema import EVENT
from sessionbat.server.web.operations import Answer, Operation, page_of, reference, schema_of
from sessionbat.server.web.parameters import (
    Choice,
    Flag,
    Number,
    Parameter,
    Schema,
    Text,
    Time,
    Whole,
)

MAX_LIMIT: Final = 1000
#: Hours or days that statistics may be asked of at once.
MAX_SPANS: Final = 1000

#: The records that answers refer to by name.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Event": EVENT,
    "Session": schema_of(SessionSummary),
    "SearchHit": schema_of(SearchHit),
    "Statistic": schema_of(Statistic),
}


def _limit(default: int) -> Whole:
    return Whole(
        name="limit",
        description="the most items that a page has",
        minimum=1,
        maximum=MAX_LIMIT,
        default=default,
        slug="bad-limit",
    )


APP: Final = Text(name="app", description="only what belongs to this app")
ITS_APP: Final = Text(name="app", description="the app of the session", required=True)
SESSION_ID: Final = Text(
    name="session_id", description="the session, as its host names it", required=True
)
AFTER: Final = Text(name="after", description="the `next` of the page before")
SESSIONS_LIMIT: Final = _limit(50)
EVENTS_LIMIT: Final = _limit(200)
SEARCH_LIMIT: Final = _limit(20)
FROM: Final = Time(name="from", description="from this moment on; UTC where no zone is named")
TO: Final = Time(name="to", description="up to this moment, itself not included")

SORT: Final[Choice[SessionSort]] = Choice(
    name="sort",
    description="what comes first: the latest activity, or the most of the others",
    choices=("last_activity", "duration", "cost", "errors"),
    default="last_activity",
)
WORDS: Final = Text(
    name="q",
    description='words, `"phrases in quotation marks"` and `prefix*`; each has to be found',
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

#: The fields of a ``SessionFilter``, without ``context``, and the parameter that sets each.
FILTERS: Final[Mapping[str, Parameter[Any]]] = {
    "tag": Text(name="tag", description="have an event with this tag"),
    "model": Text(name="model", description="have a call of this model"),
    "tool": Text(name="tool", description="have a call of this tool"),
    "kind": Text(name="kind", description="have an event of this type"),
    "error_type": Text(name="error_type", description="have an event with this `error.type`"),
    "error": Flag(name="error", description="have an error, or have none"),
    "since": Time(name="from", description="were active at this time or later"),
    "until": Time(name="to", description="were active before this time"),
    "min_tokens": Whole(name="min_tokens", description="used so many tokens, or more"),
    "max_tokens": Whole(name="max_tokens", description="used so many tokens at most"),
    "min_cost_usd": Number(name="min_cost_usd", description="cost so many dollars, or more"),
    "max_cost_usd": Number(name="max_cost_usd", description="cost so many dollars at most"),
    "min_latency_ms": Number(
        name="min_latency_ms", description="whose slowest observation took so long, or longer"
    ),
    "max_latency_ms": Number(
        name="max_latency_ms", description="whose slowest observation took so long at most"
    ),
}


def context_parameter(key: str) -> Text:
    """Give the parameter that filters sessions by a key of their context."""
    return Text(
        name=key if key in RESERVED_CONTEXT else f"context.{key}",
        description=f"have an event with this `{key}` in its context",
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
    """Declare the list of sessions, filtered by these keys of a context too."""
    context = [context_parameter(key) for key in context_keys]
    return Operation(
        path="/api/v1/sessions",
        name="sessions",
        summary="Sessions, the latest activity first",
        description="Lists the sessions for which everything given is true.",
        parameters=(APP, *context, *FILTERS.values(), SORT, SESSIONS_LIMIT, AFTER),
        answer=Answer("A page of sessions.", page_of(reference("Session"))),
        refusals=_refusals("bad-parameter", "bad-time", "bad-limit", "bad-after"),
    )


SESSION: Final = Operation(
    path="/api/v1/session",
    name="session",
    summary="One session, summed up",
    parameters=(ITS_APP, SESSION_ID),
    answer=Answer("The session.", reference("Session")),
    refusals=_refusals("missing-parameter", not_found=True),
)

EVENTS: Final = Operation(
    path="/api/v1/events",
    name="events",
    summary="A session's events as they were received, oldest first",
    parameters=(ITS_APP, SESSION_ID, EVENTS_LIMIT, AFTER),
    answer=Answer(
        "A page of events, byte for byte; it ends early once it holds 8 MiB.",
        page_of(reference("Event")),
    ),
    refusals=_refusals("missing-parameter", "bad-limit", "bad-after", not_found=True),
)

SEARCH: Final = Operation(
    path="/api/v1/search",
    name="search",
    summary="Events that hold words, received last first",
    description="What was stored is found at most two seconds later.",
    parameters=(WORDS, APP, SEARCH_LIMIT, AFTER),
    answer=Answer("A page of events in which the words are.", page_of(reference("SearchHit"))),
    refusals={
        **_refusals("missing-parameter", "bad-limit", "bad-after"),
        501: ("no-search",),
    },
)

STATISTICS: Final = Operation(
    path="/api/v1/statistics",
    name="statistics",
    summary="Figures by hour or day (UTC), oldest first",
    description=(
        f"At most {MAX_SPANS} spans; without `from` the last 24 hours or 30 days. What was stored"
        " counts at most two seconds later."
    ),
    parameters=(BY, FROM, TO, APP, GROUP),
    answer=Answer(
        "The spans in which something happened.",
        {
            "type": "object",
            "required": ["items"],
            "properties": {"items": {"type": "array", "items": reference("Statistic")}},
        },
    ),
    refusals=_refusals("bad-parameter", "bad-time", "too-many-spans"),
)
