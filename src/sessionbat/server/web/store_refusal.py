"""The refusal of a request for which the store failed, or takes nothing at the moment."""

from __future__ import annotations

from typing import Final

from sessionbat.errors import StoreError
from sessionbat.server.ops.store_watch import TOLD, state_of
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.refusal import Refused

#: Seconds after which somebody refused may try again: while the store is unwell, and otherwise.
_RETRY_AFTER: Final = {"Retry-After": "5"}
_SOON: Final = {"Retry-After": "1"}


def refusal_of(exc: StoreError, advice: str) -> Refused:
    """Make the refusal of a request for which the store failed."""
    state = state_of(exc)
    return Refused(
        503, exc.slug, TOLD[state] if state else advice, headers=_RETRY_AFTER if state else _SOON
    )


def refuse_while_unwell(store: Store) -> None:
    """Refuse new events in front of the store; asks no disk.

    Raises:
        Refused: It takes none at the moment.
    """
    health = store.health()
    if not health.is_well:
        raise Refused(503, health.slug, TOLD[health.state], headers=_RETRY_AFTER)
