"""The thread that makes statistics and the text index, a little behind ingestion.

It works by a cursor, in short transactions of its own, once 500 events wait or the oldest has
waited half a second; killed at any moment, it goes on where the last transaction ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

_log = logging.getLogger("sessionbat.server")

#: Events of one transaction: as short as what the storing thread does without the database, so that
#: the two seldom wait for each other.
STEP: Final = 500
MAX_AGE: Final = 0.5
_RETRY: Final = 5.0


class Follower:
    """Calls ``step`` whenever enough is new; a lazy daemon thread.

    Args:
        step: Does one transaction's worth; True when nothing is left to do.
        is_known: Whether an error of it is told elsewhere and not worth a line in the log.
        clock: Seconds.
    """

    def __init__(
        self,
        step: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        is_known: Callable[[Exception], bool] = lambda _exc: False,
    ) -> None:
        self._step = step
        self._is_known = is_known
        self._clock = clock
        self._changed = threading.Condition()  # guards these four
        self._new = 0
        self._since = 0.0
        self._closing = False
        self._thread: threading.Thread | None = None

    def tell(self, count: int) -> None:
        """Say that so many events are new; returns at once."""
        with self._changed:
            if self._closing or not count:
                return
            if not self._new:
                self._since = self._clock()
            self._new += count
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sessionbat-following", daemon=True
                )
                self._thread.start()
            elif self._new == count or self._new >= STEP:
                self._changed.notify()

    def close(self) -> None:
        """Finish the transaction under way, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                while not self._step():
                    with self._changed:
                        # A moment in which what waits for the lock can have it; locks are not fair.
                        if self._changed.wait_for(lambda: self._closing, 0.001):
                            return
            except Exception as exc:  # noqa: BLE001 - a full disk now must not end search for good
                if not self._is_known(exc):
                    _log.error("search and statistics are behind: %s; trying again", exc)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _RETRY)
                    self._new += 1

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._new or self._closing)
            self._changed.wait_for(
                lambda: self._closing or self._new >= STEP,
                max(0.0, self._since + MAX_AGE - self._clock()),
            )
            self._new = 0
            return not self._closing
