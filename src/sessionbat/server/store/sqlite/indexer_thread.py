"""The thread that updates statistics and the text index shortly after ingestion.

It works by a cursor in short transactions, once 500 events wait or the oldest has waited half a
second. After a kill it continues where the last transaction ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sessionbat.server.background import Background

#: Events of one transaction: as short as what the storing thread does without the database, so that
#: the two seldom wait for each other.
STEP: Final = 500
MAX_AGE: Final = 0.5
_RETRY: Final = 5.0
# Seconds, with those in which it waits for the lock. Usual steps take less and are not slowed down:
# search would stay behind ingestion, by 2.5 s instead of 0.2 s where this was 0.15 s.
_LONG: Final = 0.5


class Follower:
    """A daemon thread, started on first use, that calls ``step`` whenever enough events are new.

    Args:
        step: Does one transaction's worth of work; True when nothing is left to do.
        is_known: Whether an error of it is already logged elsewhere.
        clock: Seconds.
    """

    def __init__(
        self,
        step: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        is_known: Callable[[Exception], bool] = lambda _exc: False,
    ) -> None:
        self._step = step
        self._clock = clock
        self._thread = Background(
            "sessionbat-following",
            self._turn,
            failing="search and statistics are behind",
            retry_s=_RETRY,
            is_told=is_known,
        )
        # Guarded by the thread's lock.
        self._new = 0
        self._since = 0.0

    def tell(self, count: int) -> None:
        """Report a number of new events; returns at once."""
        with self._thread.changed:
            if self._thread.is_closing or not count:
                return
            if not self._new:
                self._since = self._clock()
            self._new += count
            self._thread.start()
            if self._new == count or self._new >= STEP:
                self._thread.wake()

    def close(self) -> None:
        """Finish the current transaction, then stop."""
        self._thread.close()

    def _turn(self) -> bool:
        if not self._wait_for_work():
            return False
        try:
            started = self._clock()
            while not self._step():
                # A moment in which what waits for the lock can have it; after a long step as long
                # as it took.
                taken = self._clock() - started
                if self._thread.pause(taken if taken > _LONG else 0.001):
                    return False
                started = self._clock()
        except Exception:
            with self._thread.changed:
                self._new += 1  # so that the next turn has something to do
            raise
        return True

    def _wait_for_work(self) -> bool:
        thread = self._thread
        with thread.changed:
            thread.wait_for(lambda: self._new > 0 or thread.is_closing)
            thread.wait_for(
                lambda: thread.is_closing or self._new >= STEP,
                max(0.0, self._since + MAX_AGE - self._clock()),
            )
            self._new = 0
            return not thread.is_closing
