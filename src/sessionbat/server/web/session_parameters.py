"""Parameters of session lists, shared by the read API, the pages and their twins.

A refusal of one of these has the same message on a page as in the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sessionbat.event import RESERVED_CONTEXT
from sessionbat.server.records import SessionFilter, SessionSort
from sessionbat.server.web.parameters import (
    Choice,
    Flag,
    Number,
    Parameter,
    Query,
    Text,
    Time,
    Whole,
)
from sessionbat.server.web.refusal import Refused

APP: Final = Text(name="app", description="only data of this app")
ITS_APP: Final = Text(name="app", description="the app of the session", required=True)
SESSION_ID: Final = Text(
    name="session_id", description="the session's id, as the application recorded it", required=True
)
AFTER: Final = Text(name="after", description="the `next` of the page before")

SORT: Final[Choice[SessionSort]] = Choice(
    name="sort",
    description="the order: latest activity first, or highest value first",
    choices=("last_activity", "duration", "cost", "errors"),
    default="last_activity",
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
    "min_tokens": Whole(name="min_tokens", description="used at least this many tokens"),
    "max_tokens": Whole(name="max_tokens", description="used at most this many tokens"),
    "min_cost_usd": Number(name="min_cost_usd", description="cost at least this many dollars"),
    "max_cost_usd": Number(name="max_cost_usd", description="cost at most this many dollars"),
    "min_latency_ms": Number(
        name="min_latency_ms", description="whose slowest observation took at least this long"
    ),
    "max_latency_ms": Number(
        name="max_latency_ms", description="whose slowest observation took at most this long"
    ),
}


def limit(default: int, maximum: int) -> Whole:
    """Declare the number of items on a page."""
    return Whole(
        name="limit",
        description="the most items on a page",
        minimum=1,
        maximum=maximum,
        default=default,
        slug="bad-limit",
    )


def context_parameter(key: str) -> Text:
    """Return the parameter that filters sessions by a context key."""
    return Text(
        name=key if key in RESERVED_CONTEXT else f"context.{key}",
        description=f"have an event with this `{key}` in its context",
    )


def session_list(context_keys: Sequence[str], how_many: Whole) -> list[Parameter[Any]]:
    """Declare all parameters of the session list, including these context keys."""
    context = [context_parameter(key) for key in context_keys]
    return [APP, *context, *FILTERS.values(), SORT, how_many, AFTER]


def session_filter(query: Query, context_keys: Sequence[str]) -> SessionFilter:
    """Read the filter of a session list."""
    context = ((key, query.get(context_parameter(key))) for key in context_keys)
    return SessionFilter(
        context=tuple((key, value) for key, value in context if value is not None),
        **{field: query.get(parameter) for field, parameter in FILTERS.items()},
    )


@contextmanager
def refused_cursors() -> Iterator[None]:
    """Refuse an ``after`` that the store cannot read.

    Raises:
        Refused: It is not a cursor of this list (400).
    """
    try:
        yield
    except ValueError as exc:
        raise Refused(
            400,
            "bad-after",
            "after is not a cursor of this list; pass the next of the page before, or"
            " start again without it",
            at="after",
        ) from exc


def no_such_session(at: str) -> Refused:
    """Make the 404 for an unknown session."""
    return Refused(
        404,
        "no-such-session",
        "this app has no session with that id; it may not have arrived yet",
        at=at,
    )
