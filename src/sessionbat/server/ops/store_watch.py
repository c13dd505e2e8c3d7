"""Looks at the store while the server runs, and logs each change between well and unwell.

Requests and other threads notice too, and leave the telling to this: an error whose slug is that
of a state is logged by nobody else.
"""

from __future__ import annotations

import logging
import time
from typing import Final, get_args

from sessionbat.errors import StoreError
from sessionbat.server.background import Background
from sessionbat.server.records import StoreHealth, StoreState
from sessionbat.server.store.protocol import Store

_log = logging.getLogger("sessionbat.server")

#: Seconds between two looks.
INTERVAL: Final = 0.5
STATES: Final[tuple[StoreState, ...]] = get_args(StoreState)
_SLUGS: Final = frozenset(f"store-{state}" for state in STATES)

#: For people and programs elsewhere: no path of this machine.
TOLD: Final[dict[StoreState, str]] = {
    "gone": "the store's file was moved, deleted or replaced; what is sent now is not kept",
    "damaged": "the store's file is damaged; new events are not taken",
    "full": "the store's disk is full; new events are not taken",
    "read-only": "the store cannot be written to; new events are not taken",
    "failing": "the store's disk answers with errors; new events are not taken",
    "slow": "the store's disk is very slow; new events are not taken for the moment",
}


class StoreWatch:
    """Keeps ``Store.health`` true while nobody uses the store, and logs its changes.

    Args:
        store: What to look at.
        interval: Seconds between two looks.
    """

    def __init__(self, store: Store, interval: float = INTERVAL) -> None:
        self._store = store
        self._interval = interval
        self._unwell_since: float | None = None
        self._thread = Background(
            "sessionbat-watch", self._look, failing="the store could not be looked at", retry_s=0.0
        )
        store.tell_health(self._log_change)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Finish the look under way, then stop."""
        self._thread.close()

    def _look(self) -> bool:
        if self._thread.pause(self._interval):
            return False
        self._store.look()
        return True

    def _log_change(self, health: StoreHealth) -> None:
        if not health.is_well:
            self._unwell_since = self._unwell_since or time.monotonic()
            _log.error("%s [%s]", health.message, health.slug)
        elif self._unwell_since is not None:
            seconds, self._unwell_since = time.monotonic() - self._unwell_since, None
            _log.warning("the store is well again after %.0f s [store-well]", seconds)


def trouble(store: Store) -> str:
    """Say in a sentence what is wrong with the store; empty when nothing is."""
    return TOLD.get(store.health().state, "")


def is_told_already(exc: Exception) -> bool:
    """Whether an error is of the store as a whole, which has its own line in the log."""
    return isinstance(exc, StoreError) and exc.slug in _SLUGS


def state_of(exc: StoreError) -> StoreState | None:
    """Say which state of the store an error is of; None for any other."""
    return next((state for state in STATES if exc.slug == f"store-{state}"), None)
