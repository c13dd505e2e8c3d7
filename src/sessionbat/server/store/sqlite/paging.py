"""Pages and their cursors: where a page ended, as an opaque string that the next question brings.

A cursor is two numbers, a place in the order and a row's number, behind the mark of the question it
belongs to: one of another question is told from a right one.
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
    """Where a page ends: the last row's place in the order, and its number."""

    place: int
    number: int = 0


def read_cursor(cursor: str | None, start: Place, mark: str = "") -> Place:
    """Read the cursor of a question with this mark; ``start`` where there is none.

    Raises:
        ValueError: It is no cursor of this question.
    """
    if cursor is None:
        return start
    match = _CURSOR.match(cursor)
    if match is None or match[1] != mark:
        raise ValueError("not a cursor of this store")
    return Place(int(match[2]), int(match[3]))


def write_cursor(place: Place, mark: str = "") -> str:
    """Write the cursor with which the next page begins after a place."""
    return f"{mark}{place.place}-{place.number}"


class Filling(Generic[Item]):
    """A page on its way: full at so many items, or once they are so large together.

    Args:
        limit: At most so many items.
        max_bytes: The item that reaches this size is the last.
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
        """Put the next item on the page, and how much JSON was read for it."""
        self.items.append(item)
        self._bytes_left -= size
        self._last = place

    def next(self, mark: str = "") -> str | None:
        """Write the cursor after the last item, as there are further ones."""
        return None if self._last is None else write_cursor(self._last, mark)

    def page(self, *, is_cut: bool, mark: str = "") -> Page[Item]:
        """Make the page; ``is_cut`` when further items have to follow."""
        return Page(self.items, self.next(mark) if is_cut else None)
