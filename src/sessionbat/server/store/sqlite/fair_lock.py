"""A first-in, first-out lock.

``threading.Lock`` goes to whichever thread runs next: a thread that works in many short steps takes
it again and again while another one waits. With this lock, a thread waits for at most one step of
each other thread.
"""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A fair lock for ``with``; not reentrant."""

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
        """Hand the lock to the thread that has waited longest; no other can take it in between."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False
