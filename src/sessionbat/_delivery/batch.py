"""Events of one request, and whose they are; in memory, compressed in memory, or on disk.

The queue owns every batch and guards it with its lock; the worker only reads ``body``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from itertools import groupby

from sessionbat._delivery.compression import PREFERRED, compress, decompress
from sessionbat._delivery.segment import Extent, Part
from sessionbat.accounting import Ledger


class Batch:
    """Some events as NDJSON, with the runs of (ledger, number of events) that they belong to."""

    __slots__ = (
        "_latest_owner",
        "_lines",
        "_packed",
        "_runs",
        "_waiting",
        "born",
        "count",
        "extents",
        "may_be_there",
        "number",
        "settled",
        "size",
        "spooled",
        "spooled_size",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        #: When its first event came, by the queue's clock.
        self.born = 0.0
        self.count = 0
        #: Bytes as NDJSON.
        self.size = 0
        self.settled = 0
        #: How many events from the first on are on disk, how many bytes those are, and where.
        self.spooled = 0
        self.spooled_size = 0
        self.extents: list[Extent] = []
        #: Whether the endpoint may have stored some of it without this process knowing.
        self.may_be_there = False
        # Whose events these are: a ledger, and the position of its first event in a row.
        self._runs: list[tuple[Ledger, int]] = []
        self._latest_owner: Ledger | None = None
        # One entry an event once some are settled and others are not; None marks the settled.
        self._waiting: list[Ledger | None] = []
        self._lines: BytesIO | None = BytesIO()
        self._packed: bytes | None = None

    @classmethod
    def adopted(cls, ledger: Ledger, places: list[tuple[Extent, set[int]]]) -> Batch:
        """Make one of records that another process left on disk; the queue numbers it.

        Args:
            ledger: Whose they are now.
            places: The records, and which events of each are done with already.
        """
        batch = cls(-1)
        batch.may_be_there = True
        batch._lines = None
        batch.extents = [extent for extent, _ in places]
        batch.count = batch.spooled = sum(extent.events for extent in batch.extents)
        batch.size = batch.spooled_size = sum(extent.length for extent in batch.extents)
        batch._runs = [(ledger, 0)]
        start = 0
        for extent, done in places:
            if done:
                waiting = batch._each_waiting()
                for position in done:
                    waiting[start + position] = None
                batch.settled += len(done)
            start += extent.events
        return batch

    def append(self, ledger: Ledger, line: bytes) -> None:
        """Add one event; broken off, it has added nothing once ``discard_torn`` was called."""
        if ledger is not self._latest_owner:
            self._latest_owner = None
            self._runs.append((ledger, self.count))
            self._latest_owner = ledger
        write = self._lines.write  # type: ignore[union-attr]
        self.size += write(line) + write(b"\n")  # a copy of the line would cost more
        self.count += 1

    def discard_torn(self) -> None:
        """Remove what an ``append`` that was broken off has left."""
        if self._lines is not None:
            self._lines.seek(self.size)
            self._lines.truncate()
        while self._runs and self._runs[-1][1] >= self.count:
            self._runs.pop()
        self._latest_owner = self._runs[-1][0] if self._runs else None

    @property
    def unsettled(self) -> int:
        """How many events are neither delivered nor dropped."""
        return self.count - self.settled

    @property
    def held(self) -> int:
        """Bytes that it takes in memory at present."""
        if self._lines is not None:
            return self.size
        return 0 if self._packed is None else len(self._packed)

    @property
    def is_held(self) -> bool:
        """Whether it is in memory, in any form."""
        return self._lines is not None or self._packed is not None

    @property
    def is_packed(self) -> bool:
        """Whether it is in memory in its compressed form."""
        return self._packed is not None

    def body(self) -> bytes:
        """All events as NDJSON, wherever they are.

        Raises:
            OSError: They are on disk only, and the disk gave an error.
        """
        lines, packed = self._lines, self._packed
        if lines is not None:
            return lines.getvalue()
        if packed is not None:
            return decompress(packed, PREFERRED)
        return b"".join(extent.read() for extent in self.extents)

    def lines(self) -> list[bytes | None]:
        """The events one by one, wherever they are; None for each that cannot be read."""
        if self.is_held:
            return [*self.body().removesuffix(b"\n").split(b"\n")]
        return [line for extent in self.extents for line in extent.lines()]

    def packed(self, coding: str) -> bytes:
        """All events, compressed; nothing is done twice where they are held so already."""
        packed = self._packed
        if packed is not None and coding == PREFERRED:
            return packed
        return compress(self.body(), coding)

    def unspooled(self) -> bytes:
        """The events that are not on disk yet."""
        if self._lines is None:
            return self.body()[self.spooled_size :]
        with self._lines.getbuffer() as view:
            return bytes(view[self.spooled_size : self.size])

    def pack(self) -> bytes:
        """Compress without changing anything yet: this takes milliseconds and needs no lock."""
        return compress(self.body(), PREFERRED)

    def hold_packed(self, packed: bytes) -> int:
        """Keep the compressed form only; returns the bytes saved."""
        saved = self.held - len(packed)
        self._packed, self._lines = packed, None
        return saved

    def hold_nothing(self) -> int:
        """Keep nothing in memory of what is on disk whole; returns the bytes saved."""
        saved = self.held
        self._lines = self._packed = None
        return saved

    def settle(self, first: int, count: int) -> list[tuple[Ledger, int, int]]:
        """Note that events are done with; those noted before do not count again.

        Returns:
            For each ledger: how many, and how many of those had been spooled.
        """
        if count == self.unsettled == self.count and self.spooled in (0, count):
            self.settled = count
            return [(ledger, n, n if self.spooled else 0) for ledger, n in self._owners()]
        waiting = self._each_waiting()
        settled: Counter[Ledger] = Counter()
        spooled: Counter[Ledger] = Counter()
        for position in range(first, first + count):
            ledger = waiting[position]
            if ledger is not None:
                settled[ledger] += 1
                spooled[ledger] += position < self.spooled
                waiting[position] = None
        self.settled += settled.total()
        return [(ledger, number, spooled[ledger]) for ledger, number in settled.items()]

    def note_spooled(self, count: int, size: int, extent: Extent) -> list[tuple[Ledger, int]]:
        """Note that further events are on disk; returns whose they are, without the settled."""
        spooled = self.spooled + count
        if not self._waiting and count == self.count:
            noted = self._owners()
        else:
            waiting = self._each_waiting()[self.spooled : spooled]
            noted = list(Counter(ledger for ledger in waiting if ledger is not None).items())
        # Last and without a call, so that no signal handler's exception can come in between.
        self.spooled = spooled
        self.spooled_size += size
        self.extents += [extent]
        return noted

    def owners_of(self, positions: Sequence[int]) -> dict[Ledger, int]:
        """How many of some events, in their order, belong to each ledger, settled or not."""
        owners: Counter[Ledger] = Counter()
        start = 0
        for ledger, number in self._owners():
            end = start + number
            owners[ledger] += bisect_left(positions, end) - bisect_left(positions, start)
            start = end
        return owners

    def parts(self, first: int, count: int) -> list[Part]:
        """Find where those of some events are that are on disk."""
        parts, start, end = [], 0, first + count
        for extent in self.extents:
            low, high = max(first, start), min(end, start + extent.events)
            if low < high:
                parts.append(Part(extent, low - start, high - low))
            start += extent.events
            if start >= end:
                break
        return parts

    def settled_parts(self, extent: Extent) -> list[Part]:
        """Find what of a record was settled before that was written."""
        if not self._waiting or not self.settled:
            return []
        start = 0
        for earlier in self.extents:
            if earlier is extent:
                break
            start += earlier.events
        waiting = self._waiting[start : start + extent.events]
        parts, first = [], 0
        for is_settled, row in groupby(waiting, key=lambda owner: owner is None):
            count = len(list(row))
            if is_settled:
                parts.append(Part(extent, first, count))
            first += count
        return parts

    def positions_waiting(self) -> Sequence[int]:
        """Say which events are not settled."""
        if not self.settled:
            return range(self.count)
        return [n for n, owner in enumerate(self._each_waiting()) if owner is not None]

    def waiting(self) -> dict[Ledger, int]:
        """How many events of each ledger are not settled yet."""
        if self._waiting:
            return Counter(ledger for ledger in self._waiting if ledger is not None)
        totals: Counter[Ledger] = Counter()
        for ledger, number in self._owners():
            totals[ledger] += number
        return totals

    def waiting_of(self, ledger: Ledger) -> tuple[int, int]:
        """How many events of a ledger are not settled, and how many of those are on disk."""
        if not self._waiting and self.spooled in (0, self.count):
            number = sum(n for owner, n in self._owners() if owner is ledger)
            return number, number if self.spooled else 0
        waiting = self._each_waiting()
        return waiting.count(ledger), waiting[: self.spooled].count(ledger)

    def _each_waiting(self) -> list[Ledger | None]:
        known = len(self._waiting)
        if known < self.count:
            owners = [ledger for ledger, number in self._owners() for _ in range(number)]
            self._waiting += owners[known:]
        return self._waiting

    def _owners(self) -> list[tuple[Ledger, int]]:
        """Turn where each run begins into how long it is."""
        ends = [first for _, first in self._runs[1:]] + [self.count]
        return [
            (ledger, end - first) for (ledger, first), end in zip(self._runs, ends, strict=True)
        ]
