"""The second thread of a destination: writes to disk what the endpoint has not taken in time.

The worker cannot do it, because it may be waiting for the network just then. The keeper also adopts
what processes that have ended left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from sessionbat._delivery.batch import Batch
from sessionbat._delivery.event_queue import MAX_BATCH_EVENTS, EventQueue
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.record import Record
from sessionbat._delivery.segment import Extent, Segment
from sessionbat._delivery.spool import SPOOL_AFTER_S, Spool, SpoolFullError
from sessionbat._delivery.unsettled import Settled
from sessionbat.accounting import Ledger

#: Between two writes: one record holds what came meanwhile.
WRITE_EVERY_S: Final = 0.05
#: Between two writes of a child, which may be killed or leave by ``os._exit`` at any moment.
WRITE_EVERY_IN_CHILD_S: Final = 0.01
DISK_RETRY_S: Final = 60.0
ADOPT_EVERY_S: Final = 60.0
#: Of adopted records in one batch, as they are on disk: deflated ones grow tenfold.
MAX_GROUP_BYTES: Final = 128 * 1024


class Keeper:
    """Keeps the events of one queue in one spool.

    Args:
        queue: Whose events.
        spool: Where they are kept.
        notices: Told when the disk says no.
        at_once: Whether an event is written however new it is.
    """

    def __init__(
        self, queue: EventQueue, spool: Spool, notices: Notices, *, at_once: bool = False
    ) -> None:
        self.spool = spool
        self._write_after_s = 0.0 if at_once else SPOOL_AFTER_S
        self._write_every_s = WRITE_EVERY_IN_CHILD_S if at_once else WRITE_EVERY_S
        #: What became of the events that earlier processes had left; apart from every client's.
        self.adopted = Ledger(queue.lock)
        self._queue = queue
        self._notices = notices
        spool.on_set_aside = notices.set_aside
        # One write at a time, so that a batch's events reach the disk once and in order.
        self._writing = threading.RLock()
        self._inside = False
        self._interrupted = False
        self._disk_off_until = 0.0
        self._next_look = 0.0
        # From the moment a segment is taken over until its events are queued.
        self._adopting = False

    def renew_locks(self) -> None:
        """Make new locks, of the kind that the process has now; nobody uses the old ones."""
        self.adopted.lock = self._queue.lock
        self._writing = threading.RLock()
        self.spool.renew_lock()

    def run(self) -> None:
        """Keep until the queue stops. The keeper's thread runs this."""
        while self._queue.wait_until_older(self._write_after_s):
            try:
                self.keep(self._write_after_s)
            except Exception as error:  # noqa: BLE001 - by design there is none; it must not end this
                self._turn_off(type(error).__name__)
            self._queue.rest(self._write_every_s)

    def keep(self, age_s: float = 0.0, *, insist: bool = False) -> bool:
        """Write every unsettled event of a batch so old; false when the disk does not take it.

        Args:
            age_s: Only batches whose first event is that old.
            insist: Try even a disk that said no a short while ago.
        """
        if self._queue.is_held_here:
            # A signal handler or a finalizer has recorded where this thread holds what the keeper's
            # thread may be waiting for. What it interrupted, or else that thread, will write it.
            return True
        with self._writing:
            if self._inside:
                # As above, in the middle of a write: that goes on to what was brought.
                self._interrupted = True
                return True
            if self._queue.clock() < self._disk_off_until and not insist:
                return False
            self._inside = True
            try:
                return self._keep(age_s)
            finally:
                self._inside = False

    def _keep(self, age_s: float) -> bool:
        while True:
            self._interrupted = False
            for batch in self._queue.unspooled(age_s):
                if not self._write_or_make_room(batch):
                    return False
            if not self._interrupted:
                return True
            age_s = 0.0

    def _write_or_make_room(self, batch: Batch) -> bool:
        try:
            while not self._write(batch):
                if not self._make_room():
                    self._turn_off("the spool is full of what other processes keep")
                    return False
        except OSError as error:
            self._turn_off(error.strerror or type(error).__name__)
            return False
        self._notices.spool_on()
        return True

    def _write(self, batch: Batch) -> bool:
        """Write what is new in a batch; false when room has to be made first.

        Raises:
            OSError: The disk does not take it.
        """
        chunk = self._queue.chunk(batch)
        if chunk is None:
            return True
        try:
            extent = self.spool.append(chunk.body, chunk.events)
        except SpoolFullError:
            return False
        if self._queue.note_spooled(chunk, extent):
            self.spool.note_done(self._queue.settled_parts(batch, extent))
        else:
            self.spool.release([extent])
        return True

    def _turn_off(self, why: str) -> None:
        self._disk_off_until = self._queue.clock() + DISK_RETRY_S
        self._notices.spool_off(why)

    def _make_room(self) -> bool:
        """Give up the oldest segment with what is in it; false when none is ours to give."""
        segment = self.spool.oldest() or self.spool.adopt()
        if segment is None:
            return False
        batches = [
            batch
            for batch in self._queue.unsettled()
            if any(extent.segment is segment for extent in batch.extents)
        ]
        if batches:
            number, extents = self._queue.drop(batches, "spool-full")
            self.spool.release(extents)
        else:
            number = self._count_lost(segment, "spool-full")
            self.spool.discard(segment)
        self._notices.dropped("spool-full", number)
        return True

    # What others left behind.

    def adopt_next(self) -> bool:
        """Queue the oldest segment that nobody holds; false when there is none, or not yet again.

        Called by the worker when it has nothing else to do.
        """
        now = self._queue.clock()
        if now < self._next_look:
            return False
        self._adopting = True
        try:
            return self._adopt(now)
        finally:
            self._adopting = False

    def _adopt(self, now: float) -> bool:
        segment = self.spool.adopt()
        if segment is None:
            self._next_look = now + ADOPT_EVERY_S
            return False
        if self.spool.expired(segment):
            self._notices.dropped("spool-expired", self._count_lost(segment, "spool-expired"))
            self.spool.discard(segment)
        else:
            self._offer(segment)
        return True

    def may_find_more(self) -> bool:
        """Whether there are segments that were not looked at yet, or not queued yet."""
        if self._adopting:
            return True
        return self._queue.clock() >= self._next_look and self.spool.has_orphans()

    def settle(self, settled: Settled) -> None:
        """Note on disk what need not be sent again, and release what is not needed at all."""
        if settled.free:
            self.spool.release(settled.free)
        elif settled.done:
            self.spool.note_done(settled.done)

    def _offer(self, segment: Segment) -> None:
        places = list(self._places(segment))
        batches = [Batch.adopted(self.adopted, group) for group in _in_groups(places)]
        segment.live = len(places)
        with self._queue.lock:
            number = sum(batch.unsettled for batch in batches)
            self.adopted.recorded += number
            self.adopted.spooled += number
        if batches:
            self._queue.offer(batches)
        else:
            self.spool.discard(segment)

    def _places(self, segment: Segment) -> Iterator[tuple[Extent, set[int]]]:
        """Find what is still to be delivered, and what of each record is not."""
        for record in self._readable(segment):
            done = segment.done(record)
            if len(done) < record.events:
                yield segment.extent(record), done

    def _readable(self, segment: Segment) -> Iterator[Record]:
        """Read what is whole; a damaged stretch counts as one event, for want of knowing better."""
        try:
            for record in segment.records():
                if record.events:
                    yield record
                else:
                    segment.damaged.add(record.offset)
                    self._lose("spool-corrupt", 1)
                    self._notices.dropped("spool-corrupt", 1)
        except OSError as error:
            self._turn_off(error.strerror or type(error).__name__)

    def _count_lost(self, segment: Segment, reason: str) -> int:
        number = sum(
            record.events - len(segment.done(record)) for record in self._readable(segment)
        )
        self._lose(reason, number)
        return number

    def _lose(self, reason: str, number: int) -> None:
        with self._queue.lock:
            self.adopted.recorded += number
            self.adopted.drop(reason, number)


def _in_groups(places: list[tuple[Extent, set[int]]]) -> Iterator[list[tuple[Extent, set[int]]]]:
    """Put short records together: ``durability="sync"`` writes one for each event."""
    group: list[tuple[Extent, set[int]]] = []
    events = size = 0
    for place in places:
        events += place[0].events
        size += place[0].length
        if group and (events > MAX_BATCH_EVENTS or size > MAX_GROUP_BYTES):
            yield group
            group, events, size = [], place[0].events, place[0].length
        group.append(place)
    if group:
        yield group
