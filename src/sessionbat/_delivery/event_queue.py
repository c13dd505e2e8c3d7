"""Events waiting for delivery, already in batches, bounded in bytes; it says no when full.

Callers ``put``, one worker ``take``s, the keeper asks what is to be spooled. An event is appended
to the open batch as one line, so a batch is NDJSON from the start: no object per event is kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sessionbat._clock import monotonic
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.segment import Extent, Part
from sessionbat._delivery.unsettled import Settled, Unsettled, Waiting, count_duplicates
from sessionbat.accounting import Ledger

MAX_QUEUE_BYTES: Final = 64 * 1024 * 1024
#: From here on, full batches are compressed by whoever fills them: a background thread would come
#: too late, because the caller who causes the load also holds the interpreter.
PACK_ABOVE_BYTES: Final = 16 * 1024 * 1024
#: From here on, what is on disk whole is not held in memory as well.
RELEASE_ABOVE_BYTES: Final = 32 * 1024 * 1024
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_BATCH_EVENTS: Final = 1000
LINGER_S: Final = 0.05  # 59 requests instead of 141 for 3,000 paced events
LAST_TRIES_S: Final = 0.2  # between tries once the process ends or the last client has closed


class Chunk(NamedTuple):
    """Events of a batch that are to be written to disk."""

    batch: Batch
    body: bytes
    events: int


class EventQueue:
    """The queue of one worker.

    Args:
        max_bytes: The most that events not yet settled may take in memory.
        clock: Seconds, ascending.
    """

    def __init__(
        self, max_bytes: int = MAX_QUEUE_BYTES, clock: Callable[[], float] = monotonic
    ) -> None:
        self.max_bytes = max_bytes
        self.clock = clock
        self.make_locks()
        #: Whether a thread takes batches, or is about to.
        self.has_taker = False
        #: Whether a thread waits for batches to grow old, or is about to.
        self.has_keeper = False
        self.bytes_held = 0
        self._appending = False
        self._interrupting: deque[tuple[Ledger, bytes]] = deque()
        self._put_awaited = False
        self._hurry_through = -1
        self._stopped = False
        self._open = Batch(0)
        self._sealed: deque[Batch] = deque()
        self._unsettled = Unsettled()
        self._progress_awaited = False
        # What an earlier process left behind and nobody has taken yet.
        self._untaken: deque[Batch] = deque()

    def make_locks(self) -> None:
        """Make the lock and what is waited for with it; nobody may be waiting."""
        #: Guards everything here and the ledgers of all clients of this queue. Reentrant, because a
        #: signal handler or a finalizer may record while the same thread is recording.
        self.lock = threading.RLock()
        self._ready = threading.Condition(self.lock)
        self._settled = threading.Condition(self.lock)
        self._stopping = threading.Condition(self.lock)
        self._ageing = threading.Condition(self.lock)

    # The way in.

    def put(self, ledger: Ledger, line: bytes) -> bool:
        """Take an event and count it as recorded; false when there is no room, and nothing counted.

        An exception that a signal handler raises in between, or a host out of stack, leaves either
        all of it done or nothing. Never waits for a disk or a network. Above ``PACK_ABOVE_BYTES``
        the call that fills a batch compresses it: some milliseconds, once in a thousand calls.
        """
        with self.lock:
            if self._appending:
                # Interrupted in the middle of another ``put`` of this very thread.
                self._interrupting.append((ledger, line))
                return True
            self._appending = True
            try:
                size = len(line) + 1
                held = self.bytes_held + size
                taken = held <= self.max_bytes
                if taken:
                    batch = self._open
                    count = batch.count
                    if not 0 < count < MAX_BATCH_EVENTS or batch.size + size > MAX_BATCH_BYTES:
                        batch = self._seal() if count else batch
                        self._note_first(batch)
                    batch.append(ledger, line)
                    # Nothing can come between these two: only a call lets a signal handler run.
                    self.bytes_held = held
                    ledger.recorded += 1
                    if self._put_awaited:
                        self._ready.notify()
                        self._ageing.notify()
                        self._put_awaited = False
            except BaseException:
                self._mend()
                raise
            finally:
                self._appending = False
        if self._interrupting or held > PACK_ABOVE_BYTES:
            self._catch_up()
        return taken

    def _note_first(self, batch: Batch) -> None:
        batch.born = self.clock()
        self._unsettled.own[batch.number] = batch

    def _mend(self) -> None:
        """Take back what a ``put`` that was broken off has half done."""
        batch = self._open
        batch.discard_torn()
        if not batch.count:
            self._unsettled.own.pop(batch.number, None)
        self._put_awaited = False
        self._ready.notify_all()
        self._ageing.notify_all()

    def _catch_up(self) -> None:
        """Do what ``put`` leaves to the few calls that meet it: interruptions, and packing."""
        while self._interrupting:
            ledger, line = self._interrupting.popleft()
            if not self.put(ledger, line):
                ledger.record_dropped("queue-full")
        with self.lock:
            full = self._sealed[-1] if self._sealed else None
        if full is not None and full.held == full.size and self.bytes_held > PACK_ABOVE_BYTES:
            self._pack(full)

    def _seal(self) -> Batch:
        self._sealed.append(self._open)
        self._open = Batch(self._open.number + 1)
        return self._open

    def _pack(self, batch: Batch) -> None:
        packed = batch.pack()
        with self.lock:
            if batch in self._unsettled and batch.held == batch.size:
                self.bytes_held -= batch.hold_packed(packed)

    # The way out.

    def take(self) -> Batch | None:
        """Wait for a batch: a full one at once, else what has come ``LINGER_S`` after its first.

        Returns None once the queue is stopped and empty; then ``has_taker`` is false.
        """
        with self.lock:
            while True:
                if self._sealed:
                    return self._sealed.popleft()
                ripe_in = self._open.born + LINGER_S - self.clock() if self._open.count else None
                hurry = self._stopped or self._open.number <= self._hurry_through
                if ripe_in is not None and (hurry or ripe_in <= 0):
                    self._seal()
                elif self._untaken:
                    return self._untaken.popleft()
                elif ripe_in is not None:
                    self._ready.wait(ripe_in)
                elif self._stopped:
                    self.has_taker = False
                    return None
                else:
                    self._put_awaited = True
                    self._ready.wait()

    def take_now(self) -> Batch | None:
        """Take a batch without waiting for one, or for one to fill; None when nothing is there."""
        with self.lock:
            if not self._sealed and self._open.count:
                self._seal()
            ready = self._sealed or self._untaken
            return ready.popleft() if ready else None

    def offer(self, batches: list[Batch]) -> None:
        """Hand out batches that another process left behind, whenever nothing else is ready.

        They are numbered below zero: no flush waits for them.
        """
        with self.lock:
            for batch in batches:
                self._unsettled.adopt(batch)
                self.bytes_held += batch.held
                self._untaken.append(batch)
            self._ready.notify()

    def put_aside(self, batch: Batch) -> None:
        """Hand out again what is left of a batch of another process, after what is our own."""
        with self.lock:
            if batch.number in self._unsettled.adopted:
                self._untaken.appendleft(batch)

    @property
    def has_own(self) -> bool:
        """Whether something that was put here would be handed out now."""
        with self.lock:
            if self._sealed or not self._open.count:
                return bool(self._sealed)
            hurry = self._stopped or self._open.number <= self._hurry_through
            return hurry or self._open.born + LINGER_S <= self.clock()

    def waiting_in(self, batch: Batch) -> Sequence[int]:
        """Say which events of a batch are not settled, by position."""
        with self.lock:
            return batch.positions_waiting() if batch in self._unsettled else ()

    def put_back(self) -> None:
        """Hand out again whatever is not settled, to the next taker: this one has died."""
        with self.lock:
            self.has_taker = False
            own = self._unsettled.own.values()
            for batch in own:
                batch.may_be_there = True
            self._sealed = deque(batch for batch in own if batch is not self._open)
            self._untaken = deque(self._unsettled.adopted.values())

    def settle(self, batch: Batch, first: int, count: int, dropped: str | None = None) -> Settled:
        """Count events of a batch as delivered, or as dropped for a reason.

        Returns:
            Where they are on disk.
        """
        with self.lock:
            if batch not in self._unsettled:
                return Settled()  # given up while its request was still under way
            self._unsettled.settle(batch, first, count, dropped)
            if self._progress_awaited:
                self._settled.notify_all()
            if batch.unsettled <= 0:
                return Settled(free=self._forget(batch))
            return Settled(done=batch.parts(first, count)) if batch.extents else Settled()

    def note_duplicates(self, batch: Batch, positions: Sequence[int], duplicates: int) -> None:
        """Count how many of some events the endpoint had already; see ``count_duplicates``."""
        with self.lock:
            count_duplicates(batch, positions, duplicates)

    def pause(self, seconds: float) -> None:
        """Let the worker wait between tries; ``stop`` ends the pause and shortens later ones."""
        with self.lock:
            if self._stopped:
                self._settled.notify_all()  # who waits for progress hears that there is none
            self._stopping.wait(min(seconds, LAST_TRIES_S) if self._stopped else seconds)

    def _forget(self, batch: Batch) -> list[Extent]:
        self._unsettled.remove(batch)
        if batch is self._open:  # given up before anybody took it; what comes next is not lost
            self._open = Batch(batch.number + 1)
        self.bytes_held -= batch.held
        self._settled.notify_all()
        if self._stopped:
            self._ageing.notify_all()
        return batch.extents

    # The way to the disk.

    def wait_until_older(self, age_s: float) -> bool:
        """Wait until something unsettled and unspooled is so old.

        Returns False once the queue is stopped and empty; then ``has_keeper`` is false.
        """
        with self.lock:
            while not (self._stopped and self.is_empty):
                born = next((batch.born for batch in self._unsettled.not_on_disk()), None)
                left = None if born is None else born + age_s - self.clock()
                if left is not None and left <= 0:
                    return True
                self._put_awaited = left is None or self._put_awaited
                self._ageing.wait(left)
            self.has_keeper = False
            return False

    def unspooled(self, age_s: float) -> list[Batch]:
        """List batches so old that hold events which are not on disk, oldest first."""
        with self.lock:
            latest = self.clock() - age_s
            return [batch for batch in self._unsettled.not_on_disk() if batch.born <= latest]

    def chunk(self, batch: Batch) -> Chunk | None:
        """Copy what of a batch is not on disk; None when it is settled by now."""
        with self.lock:
            if batch not in self._unsettled or batch.spooled >= batch.count:
                return None
            self._appending = True  # what a signal handler puts now waits: body and count agree
            try:
                chunk = Chunk(batch, batch.unspooled(), batch.count - batch.spooled)
            finally:
                self._appending = False
        if self._interrupting:
            self._catch_up()
        return chunk

    def note_spooled(self, chunk: Chunk, extent: Extent) -> bool:
        """Count events as being on disk; false when they are settled by now."""
        batch = chunk.batch
        with self.lock:
            if batch not in self._unsettled:
                return False
            for ledger, number in batch.note_spooled(chunk.events, len(chunk.body), extent):
                ledger.spooled += number
            if (
                self.bytes_held > RELEASE_ABOVE_BYTES
                and batch.spooled == batch.count
                and batch is not self._open
            ):
                self.bytes_held -= batch.hold_nothing()
            return True

    def rest(self, seconds: float) -> None:
        """Let the keeper wait between writes; ``stop`` ends it.

        Not ``time.sleep``: a host's test may have made that return at once.
        """
        with self.lock:
            self._stopping.wait(seconds)

    def settled_parts(self, batch: Batch, extent: Extent) -> list[Part]:
        """Find what of a record was settled while it was being written."""
        with self.lock:
            return batch.settled_parts(extent) if batch in self._unsettled else []

    # The end.

    def wait_until_settled(self, ledger: Ledger, timeout: float | None) -> Waiting:
        """Wait until everything put before this call is settled, at most ``timeout`` seconds."""
        deadline = None if timeout is None else self.clock() + timeout
        with self.lock:
            recorded = ledger.recorded
            ticket = self._open.number
            if self._open.count and not self._appending:
                self._seal()
            self._hurry_through = max(self._hurry_through, ticket)
            self._ready.notify_all()
            # A signal handler that interrupted ``put`` must not wait for what it interrupted.
            while self._unsettled.first <= ticket and not self._appending:
                left = None if deadline is None else deadline - self.clock()
                if left is not None and left <= 0:
                    break
                self._settled.wait(left)
            return self._unsettled.waiting(recorded, ledger, ticket)

    def wait_for_progress(self, seconds: float) -> bool:
        """Wait until an event is settled; false when none was, though there are some, in time.

        Events that are offered meanwhile to a queue that was empty are progress as well.
        """
        with self.lock:
            before, was_empty = self._unsettled.settled_events, self.is_empty
            self._progress_awaited = True
            self._settled.wait(0.005 if was_empty else seconds)
            self._progress_awaited = False
            return self._unsettled.settled_events > before or was_empty or self.is_empty

    def stop(self) -> None:
        """Take no time any more: ``take`` hands out what is left, then None."""
        with self.lock:
            self._stopped = True
            self._ready.notify_all()
            self._stopping.notify_all()
            self._ageing.notify_all()

    def resume(self) -> None:
        """Undo ``stop``, for a client that comes after the last one had left."""
        with self.lock:
            self._stopped = False

    @property
    def is_empty(self) -> bool:
        """Whether every event put or offered so far is settled."""
        return self._unsettled.is_empty

    @property
    def is_held_here(self) -> bool:
        """Whether this very thread holds the lock: a signal handler has interrupted it."""
        # What ``threading.Condition`` asks of any lock; there is no public way to ask.
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]

    @property
    def wants_more(self) -> bool:
        """Whether a taker would find nothing that is ready."""
        return not (self._sealed or self._untaken)

    def unsettled(self) -> list[Batch]:
        """List every batch with events that are neither delivered nor dropped."""
        with self.lock:
            return list(self._unsettled)

    def drop(self, batches: list[Batch], reason: str) -> tuple[int, list[Extent]]:
        """Give up what is not settled of some batches; how many events, and places to release."""
        with self.lock:
            number, extents = 0, []
            for batch in batches:
                number += batch.unsettled
                extents += self.settle(batch, 0, batch.count, dropped=reason).free
                for ready in (self._sealed, self._untaken):
                    if batch in ready:
                        ready.remove(batch)
            return number, extents

    def drop_unspooled(self, reason: str) -> int:
        """Give up every event that is not settled and not on disk; returns how many."""
        with self.lock:
            number = 0
            for batch in list(self._unsettled.own.values()):
                before = batch.unsettled
                self.settle(batch, batch.spooled, batch.count - batch.spooled, dropped=reason)
                number += before - batch.unsettled
            return number
