"""Refusals for a store that failed or does not accept events."""

from __future__ import annotations

from typing import Final

from sessionbat.errors import StoreError
from sessionbat.server.ops.store_watch import TOLD, state_of
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.refusal import Refused

#: Seconds until a retry: while the store is unwell, and after other failures.
_RETRY_AFTER: Final = {"Retry-After": "5"}
_SOON: Final = {"Retry-After": "1"}


def refusal_of(exc: StoreError, advice: str) -> Refused:
    """Make the refusal of a request whose store operation failed."""
    state = state_of(exc)
    return Refused(
        503, exc.slug, TOLD[state] if state else advice, headers=_RETRY_AFTER if state else _SOON
    )


def refusal_of_question(exc: StoreError) -> Refused:
    """Make the refusal of a query that the store could not answer."""
    if exc.slug == "no-search":
        return Refused(501, exc.slug, _ADVICE[exc.slug])
    return refusal_of(exc, _ADVICE.get(exc.slug, "the store failed; see the server's log"))


_ADVICE: Final = {
    "query-too-slow": "the query took too long; narrow it, by app or by time",
    "no-search": "this server's SQLite has no text search (FTS5)",
}


def refuse_while_unwell(store: Store) -> None:
    """Refuse new events while the store is unwell; no disk access.

    Raises:
        Refused: The store accepts no events at the moment.
    """
    health = store.health()
    if not health.is_well:
        raise Refused(503, health.slug, TOLD[health.state], headers=_RETRY_AFTER)
