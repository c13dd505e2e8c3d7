"""Checks the store's health while the server runs, and logs each change between well and unwell.

Requests and other threads meet the same errors, but leave the logging to this module: an error
whose slug is that of a health state is logged nowhere else.
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

#: Seconds between two checks.
INTERVAL: Final = 0.5
STATES: Final[tuple[StoreState, ...]] = get_args(StoreState)
_SLUGS: Final = frozenset(f"store-{state}" for state in STATES)

#: Messages for clients; without any path of this machine.
TOLD: Final[dict[StoreState, str]] = {
    "gone": "the store's file was moved, deleted or replaced; new events are refused",
    "damaged": "the store's file is damaged; new events are refused",
    "full": "the store's disk is full; new events are refused",
    "read-only": "the store cannot be written to; new events are refused",
    "failing": "the store's disk returns errors; new events are refused",
    "slow": "the store's disk is very slow; new events are refused for the moment",
}


class StoreWatch:
    """Keeps ``Store.health`` up to date while the store is idle, and logs its changes.

    Args:
        store: The store to check.
        interval: Seconds between two checks.
    """

    def __init__(self, store: Store, interval: float = INTERVAL) -> None:
        self._store = store
        self._interval = interval
        self._unwell_since: float | None = None
        self._thread = Background(
            "sessionbat-watch", self._look, failing="the store could not be checked", retry_s=0.0
        )
        store.tell_health(self._log_change)

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def close(self) -> None:
        """Finish the current check, then stop."""
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
    """Describe in a sentence what is wrong with the store; empty when it is well."""
    return TOLD.get(store.health().state, "")


def is_told_already(exc: Exception) -> bool:
    """Whether an error is a health state of the store, which this module already logs."""
    return isinstance(exc, StoreError) and exc.slug in _SLUGS


def state_of(exc: StoreError) -> StoreState | None:
    """Return the health state that an error belongs to; None for any other error."""
    return next((state for state in STATES if exc.slug == f"store-{state}"), None)
