"""Pages and their cursors: the end of a page as an opaque string, passed to get the next page.

A cursor is a mark of its query and two numbers: the position in the order and the row's number. The
mark detects the cursor of another query.
"""

from __future__ import annotations

import re
from typing import Final, Generic, NamedTuple, TypeVar

from sessionbat.server.records import Page

Item = TypeVar("Item")

#: A page of events ends early once it holds this much JSON, so that large events fit in memory.
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024

_CURSOR = re.compile(r"([a-z]?)([0-9]{1,18})-([0-9]{1,18})\Z")


class Place(NamedTuple):
    """The end of a page: the last row's position in the order, and its number."""

    place: int
    number: int = 0


def read_cursor(cursor: str | None, start: Place, mark: str = "") -> Place:
    """Decode the cursor of a query with this mark; ``start`` when there is none.

    Raises:
        ValueError: It is no cursor of this query.
    """
    if cursor is None:
        return start
    match = _CURSOR.match(cursor)
    if match is None or match[1] != mark:
        raise ValueError("not a cursor of this store")
    return Place(int(match[2]), int(match[3]))


def write_cursor(place: Place, mark: str = "") -> str:
    """Encode the cursor of the page after a place."""
    return f"{mark}{place.place}-{place.number}"


class Filling(Generic[Item]):
    """A page being filled, up to a number of items or a total size.

    Args:
        limit: The most items.
        max_bytes: The item that reaches this total size is the last one.
    """

    def __init__(self, limit: int, max_bytes: int = MAX_PAGE_BYTES) -> None:
        self.items: list[Item] = []
        self._limit = limit
        self._bytes_left = max_bytes
        self._last: Place | None = None

    @property
    def is_full(self) -> bool:
        """Whether a further item belongs on the next page."""
        return len(self.items) >= self._limit or self._bytes_left <= 0

    def add(self, place: Place, item: Item, size: int = 0) -> None:
        """Add the next item, with the size of the JSON read for it."""
        self.items.append(item)
        self._bytes_left -= size
        self._last = place

    def next(self, mark: str = "") -> str | None:
        """Encode the cursor after the last item."""
        return None if self._last is None else write_cursor(self._last, mark)

    def page(self, *, is_cut: bool, mark: str = "") -> Page[Item]:
        """Make the page; ``is_cut`` means that more items follow."""
        return Page(self.items, self.next(mark) if is_cut else None)
