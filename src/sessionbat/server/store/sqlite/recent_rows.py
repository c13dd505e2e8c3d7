"""Keeps recently stored rows in memory until the text index and the statistics have them.

This saves reading, decompressing and parsing them again. It is only a cache: missing rows are read
from disk. Used by one thread at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, repeat
from operator import attrgetter
from sys import getsizeof
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

#: The most rows of any kind, and the most bytes of text; others are read from disk.
_MAX_ROWS: Final = 20_000
_MAX_BYTES: Final = 16 * 1024 * 1024


class _OfEvent(Protocol):
    @property
    def id(self) -> int:
        """The event's number."""


Row = TypeVar("Row", bound=_OfEvent)


class IndexedText(NamedTuple):
    """An event's entry for the text index."""

    id: int
    app: int
    text: str
    #: See ``query_terms.Indexed``.
    is_whole: bool


class RecentRows(Generic[Row]):
    """Rows in the order of their events' numbers, without gaps.

    Args:
        weigh: Returns the weight of each of some rows.
        max_weight: All rows are dropped when their total weight exceeds it.
    """

    def __init__(
        self,
        weigh: Callable[[Sequence[Row]], Iterable[int]] = lambda rows: repeat(1, len(rows)),
        max_weight: int = _MAX_ROWS,
    ) -> None:
        self._weigh = weigh
        self._max_weight = max_weight
        self._rows: list[Row] = []
        self._weight = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows of committed events, numbered consecutively."""
        if not rows:
            return
        if self._rows and self._rows[-1].id + 1 != rows[0].id:
            self.forget()
        self._rows += rows
        self._weight += self._weight_of(rows)
        if self._weight > self._max_weight or len(self._rows) > _MAX_ROWS:
            self.forget()

    def take_from(self, number: int, limit: int, max_weight: int | None = None) -> list[Row]:
        """Take the rows from event ``number`` on; none when that row is missing.

        Args:
            number: The first event; rows before it are dropped.
            limit: The most rows.
            max_weight: The highest total weight, unless the first row alone exceeds it.
        """
        start = number - self._rows[0].id if self._rows else 0  # there are no gaps
        if start < 0:
            return []
        taken = self._rows[start : start + limit]
        if max_weight is not None:
            weights = [*accumulate(self._weigh(taken))]
            taken = taken[: bisect_right(weights, max_weight) or 1]
        gone = self._rows[: start + len(taken)]
        del self._rows[: len(gone)]
        self._weight -= self._weight_of(gone)
        return taken

    def forget(self) -> None:
        """Drop all rows."""
        self._rows.clear()
        self._weight = 0

    def _weight_of(self, rows: Sequence[Row]) -> int:
        return sum(self._weigh(rows))


def recent_texts() -> RecentRows[IndexedText]:
    """Make the cache of texts: at most 16 MB; a character takes one to four bytes."""
    return RecentRows(lambda texts: map(getsizeof, map(_TEXT, texts)), _MAX_BYTES)


_TEXT: Final = attrgetter("text")
