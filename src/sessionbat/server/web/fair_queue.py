"""A queue with round robin between apps: a busy app delays the others by one turn each.

Within an app the order is first in, first out. Used by ingestion and by ``answers_at_once``. Not
thread-safe; several threads need a lock of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

#: The app of a request's key; None for keys of every app, and without keys.
App = str | None

_NOTHING: Final = object()


class FairQueue(Generic[Item]):
    """A queue of items that takes apps in turn."""

    def __init__(self) -> None:
        self._of: dict[App, deque[Item]] = {}  # the app whose turn it is first; none without items
        self._count = 0

    def __len__(self) -> int:
        """Count the waiting items."""
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Iterate in the order in which items would be taken, without taking them."""
        for each_in_turn in zip_longest(*self._of.values(), fillvalue=_NOTHING):
            yield from (each for each in each_in_turn if each is not _NOTHING)  # type: ignore[misc]

    def put(self, app: App, item: Item) -> None:
        """Add an item behind those of its app."""
        self._of.setdefault(app, deque()).append(item)
        self._count += 1

    def take(self, may: Callable[[App], bool] = lambda _app: True) -> Item | None:
        """Take the next item of the next permitted app; None when there is none."""
        for app in self._of:
            if may(app):
                return self._take_of(app)
        return None

    def drop(self, apps: Iterable[App]) -> None:
        """Remove the first item of each of these apps, which ends the app's turn."""
        for app in apps:
            self._take_of(app)

    def _take_of(self, app: App) -> Item:
        items = self._of.pop(app)
        item = items.popleft()
        if items:
            self._of[app] = items
        self._count -= 1
        return item
