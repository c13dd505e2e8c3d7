"""Which app a trace was stored under, for feedback on it that names no app.

Needed only where a key writes to every app: runs then name their project, and feedback does not.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

MAX_TRACES: Final = 10_000


class RecentApps:
    """Remembers the apps of the traces that came last; guarded by a lock."""

    def __init__(self) -> None:
        self._apps: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def note(self, names: tuple[str, ...], app: str) -> None:
        """Remember the app of a trace, by its id and those of its runs."""
        with self._lock:
            for name in names:
                self._apps[name] = app
                self._apps.move_to_end(name)
            while len(self._apps) > MAX_TRACES:
                self._apps.popitem(last=False)

    def find(self, *names: str | None) -> str | None:
        """Give the app of the first of these that is remembered."""
        with self._lock:
            return next((app for each in names if each and (app := self._apps.get(each))), None)
