"""A lock that those who wait for it get in the order in which they came.

Python's own goes to whichever thread runs next: one that works in many short steps takes it again
and again while another waits. Here each waits for at most one step of each other thread.
"""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """Used in ``with``; not reentrant."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards these two
        self._is_held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        """Take the lock, or wait until it is handed over."""
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        """Hand it to the thread that has waited longest; nobody takes it in between."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False
