"""What was stored a moment ago, kept until the text index and the statistics have it.

They would otherwise read, and indexing inflate and parse, what ingestion had in its hands a moment
before. Only a short cut: what is not here is read from the disk. Used by one thread at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from sys import getsizeof
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

#: Rows kept at most of any kind, and bytes of text; what is beyond is read from the disk.
_MAX_ROWS: Final = 20_000
_MAX_BYTES: Final = 16 * 1024 * 1024


class _OfEvent(Protocol):
    @property
    def id(self) -> int:
        """The number of its event."""


Row = TypeVar("Row", bound=_OfEvent)


class IndexedText(NamedTuple):
    """What of an event goes into the text index."""

    id: int
    app: int
    text: str


class RecentRows(Generic[Row]):
    """Rows in the order of their events' numbers, without gaps.

    Args:
        weigh: How much one takes of ``max_weight``.
        max_weight: When there is more, all are dropped.
    """

    def __init__(
        self, weigh: Callable[[Row], int] = lambda _row: 1, max_weight: int = _MAX_ROWS
    ) -> None:
        self._weigh = weigh
        self._max_weight = max_weight
        self._rows: list[Row] = []
        self._weight = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Keep rows of events that are committed, each numbered one above that before it."""
        if not rows:
            return
        if self._rows and self._rows[-1].id + 1 != rows[0].id:
            self.forget()
        self._rows += rows
        self._weight += self._weight_of(rows)
        if self._weight > self._max_weight or len(self._rows) > _MAX_ROWS:
            self.forget()

    def take_from(self, number: int, limit: int, max_weight: int | None = None) -> list[Row]:
        """Take the rows from that of event ``number`` on; none when it is not here.

        Args:
            number: Rows before it are dropped.
            limit: So many at the most.
            max_weight: No more than this together, unless the first alone is.
        """
        start = number - self._rows[0].id if self._rows else 0  # there are no gaps
        if start < 0:
            return []
        taken = self._rows[start : start + limit]
        if max_weight is not None:
            weights = [*accumulate(map(self._weigh, taken))]
            taken = taken[: bisect_right(weights, max_weight) or 1]
        gone = self._rows[: start + len(taken)]
        del self._rows[: len(gone)]
        self._weight -= self._weight_of(gone)
        return taken

    def forget(self) -> None:
        """Drop all."""
        self._rows.clear()
        self._weight = 0

    def _weight_of(self, rows: Sequence[Row]) -> int:
        return sum(map(self._weigh, rows))


def recent_texts() -> RecentRows[IndexedText]:
    """Make what keeps texts: at most 16 MB, of which a character takes one to four bytes."""
    return RecentRows(lambda text: getsizeof(text.text), _MAX_BYTES)
