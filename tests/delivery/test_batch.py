"""A batch of events: whose they are, where they are, and what each becomes exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat._delivery.batch import Batch
from sessionbat._delivery.compression import GZIP, PREFERRED, ZSTD, choose, compress, decompress
from sessionbat._delivery.parcel import Parcel
from sessionbat._delivery.segment import Extent, Segment
from sessionbat.accounting import Ledger

NOWHERE = Extent(None, 0, 0, 0, 0)  # type: ignore[arg-type] # never read
LEDGERS = [Ledger(), Ledger(), Ledger()]


def filled(owners: list[int]) -> Batch:
    batch = Batch(0)
    for number, owner in enumerate(owners):
        batch.append(LEDGERS[owner], b'{"id":"%d"}' % number)
    return batch


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"id":"%d"}\n' % number for number in range(first, last))


def size(first: int, last: int) -> int:
    return len(lines(first, last))


class Model:
    """What a batch should know, in the simplest form: one fact an event."""

    def __init__(self, owners: list[int]) -> None:
        self.owners = owners
        self.settled = [False] * len(owners)
        self.spooled = 0

    def settle(self, first: int, count: int) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for position in range(first, first + count):
            if not self.settled[position]:
                self.settled[position] = True
                number, on_disk = found.get(self.owners[position], (0, 0))
                on_disk += position < self.spooled
                found[self.owners[position]] = (number + 1, on_disk)
        return found

    def note_spooled(self, count: int) -> dict[int, int]:
        first, self.spooled = self.spooled, self.spooled + count
        return Counter(
            self.owners[position]
            for position in range(first, self.spooled)
            if not self.settled[position]
        )

    def waiting_of(self, owner: int) -> tuple[int, int]:
        waiting = [
            position
            for position, settled in enumerate(self.settled)
            if not settled and self.owners[position] == owner
        ]
        return len(waiting), sum(position < self.spooled for position in waiting)


OWNERS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@given(OWNERS, st.data())
def test_every_event_is_settled_and_spooled_once_whatever_the_order(
    owners: list[int], data: st.DataObject
) -> None:
    batch, model = filled(owners), Model(owners)
    for _ in range(data.draw(st.integers(0, 8))):
        if data.draw(st.booleans()):
            first = data.draw(st.integers(0, len(owners)))
            count = data.draw(st.integers(0, len(owners) - first))
            assert sums(batch.settle(first, count)) == model.settle(first, count)
        elif model.spooled < len(owners):
            count = data.draw(st.integers(1, len(owners) - model.spooled))
            noted = batch.note_spooled(count, size(model.spooled, model.spooled + count), NOWHERE)
            noted_sums = {owner: n for owner, (n, _) in sums((*n, 0) for n in noted).items()}
            assert noted_sums == dict(model.note_spooled(count))
            assert batch.unspooled() == lines(model.spooled, len(owners))
        assert batch.unsettled == model.settled.count(False)
        if all(model.settled):  # a batch that is done with is asked no more
            return
        for owner, ledger in enumerate(LEDGERS):
            assert batch.waiting_of(ledger) == model.waiting_of(owner)


def sums(parts: Iterable[tuple[Ledger, int, int]]) -> dict[int, tuple[int, int]]:
    """Add up by owner: whose events come in several runs may be named several times."""
    found: dict[int, tuple[int, int]] = {}
    for ledger, number, on_disk in parts:
        owner = LEDGERS.index(ledger)
        before, before_on_disk = found.get(owner, (0, 0))
        found[owner] = (before + number, before_on_disk + on_disk)
    return found


@pytest.mark.slow
@given(OWNERS, st.integers(0, 6), st.integers(1, 6))
def test_events_that_come_after_a_settlement_are_waiting(
    owners: list[int], settled: int, more: int
) -> None:
    batch = filled(owners)
    settled = min(settled, len(owners))
    batch.settle(0, settled)
    for number in range(more):
        batch.append(LEDGERS[0], b'{"id":"late%d"}' % number)
    assert batch.unsettled == len(owners) - settled + more


@pytest.mark.parametrize("coding", [GZIP, ZSTD])
def test_a_packed_batch_is_the_same_and_smaller(coding: str) -> None:
    batch = filled([0] * 500)
    before = batch.body()
    saved = batch.hold_packed(batch.pack())
    assert saved > 0.5 * len(before)
    assert batch.held == len(before) - saved
    assert batch.body() == before
    assert decompress(batch.packed(coding), coding) == before


def test_a_packed_batch_is_sent_as_it_is_held() -> None:
    batch = filled([0] * 500)
    packed = batch.pack()
    batch.hold_packed(packed)
    assert batch.packed(PREFERRED) is packed


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_on_disk_is_the_same_and_takes_no_memory(tmp_path: Path, packed: bool) -> None:
    segment = Segment.create(tmp_path)
    batch = filled([0, 1] * 50)
    before = batch.body()
    for count in (30, 70):
        chunk = lines(batch.spooled, batch.spooled + count)
        batch.note_spooled(count, len(chunk), segment.append(chunk, count))
    if packed:
        batch.hold_packed(batch.pack())
    batch.hold_nothing()
    assert batch.held == 0
    assert batch.body() == before
    assert decompress(batch.packed(GZIP), GZIP) == before


def test_unspooled_events_of_a_packed_batch_are_found() -> None:
    batch = filled([0] * 20)
    batch.note_spooled(5, size(0, 5), NOWHERE)
    batch.hold_packed(batch.pack())
    assert batch.unspooled() == lines(5, 20)


def test_an_adopted_batch_is_on_disk_and_waiting(tmp_path: Path) -> None:
    ledger = Ledger()
    segment = Segment.create(tmp_path)
    extent = segment.append(lines(0, 7), 7)
    batch = Batch.adopted(ledger, [(extent, set())])
    assert (batch.body(), batch.count, batch.unsettled) == (lines(0, 7), 7, 7)
    assert (batch.held, batch.unspooled()) == (0, b"")
    assert batch.settle(0, 7) == [(ledger, 7, 7)]


def test_only_unfinished_events_of_an_adopted_batch_wait(tmp_path: Path) -> None:
    ledger = Ledger()
    segment = Segment.create(tmp_path)
    extents = [segment.append(lines(0, 4), 4), segment.append(lines(4, 7), 3)]
    batch = Batch.adopted(ledger, list(zip(extents, [{0, 2}, {1}], strict=True)))
    assert (batch.count, batch.unsettled) == (7, 4)
    assert list(batch.positions_waiting()) == [1, 3, 4, 6]
    parcel, unreadable = Parcel.of(batch, batch.positions_waiting())
    assert (parcel.lines(), unreadable) == ([lines(n, n + 1)[:-1] for n in (1, 3, 4, 6)], [])
    assert (parcel.count, parcel.first, parcel.span) == (4, 1, 6)
    assert batch.settle(parcel.first, parcel.span) == [(ledger, 4, 4)]


def test_where_settled_events_are_on_disk_is_known_by_record(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    batch = filled([0] * 10)
    extents = []
    for count in (4, 5):
        chunk = lines(batch.spooled, batch.spooled + count)
        extents.append(segment.append(chunk, count))
        batch.note_spooled(count, len(chunk), extents[-1])
    assert batch.parts(3, 1) == [(extents[0], 3, 1)]
    assert batch.parts(2, 4) == [(extents[0], 2, 2), (extents[1], 0, 2)]
    assert batch.parts(0, 10) == [(extents[0], 0, 4), (extents[1], 0, 5)]
    assert batch.parts(9, 1) == [], "not on disk"


def test_events_settled_before_they_were_written_are_known(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    batch = filled([0] * 10)
    for first, count in ((0, 1), (5, 1), (7, 2)):
        batch.settle(first, count)
    for count in (5, 5):
        chunk = lines(batch.spooled, batch.spooled + count)
        batch.note_spooled(count, len(chunk), segment.append(chunk, count))
    first, second = batch.extents
    assert batch.settled_parts(first) == [(first, 0, 1)]
    assert batch.settled_parts(second) == [(second, 0, 1), (second, 2, 2)]


def test_the_best_coding_that_both_know_is_chosen() -> None:
    assert choose(["br", "gzip", "zstd"]) == PREFERRED
    assert choose(["gzip"]) == GZIP
    assert choose(["br", ""]) is None


@given(st.binary(max_size=5000), st.sampled_from([GZIP, ZSTD]))
def test_compression_is_undone_by_decompression(body: bytes, coding: str) -> None:
    assert decompress(compress(body, coding), coding) == body
