"""Events waiting in memory, already in batches, bounded in bytes; it says no when full.

Callers ``put``, one worker ``take``s. An event is appended to the open batch as one line, so a
batch is NDJSON from the start: no object per event is kept, and nothing is copied to send it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from io import BytesIO
from typing import Final

from sessionbat.accounting import Ledger

MAX_QUEUE_BYTES: Final = 64 * 1024 * 1024
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
MAX_BATCH_EVENTS: Final = 1000
LINGER_S: Final = 0.05  # 59 requests instead of 141 for 3,000 paced events
LAST_TRIES_S: Final = 0.2  # between tries once the process ends or the last client has closed


class Batch:
    """Events of one request, as NDJSON, and whose they are: runs of (ledger, number of events)."""

    __slots__ = ("_lines", "_owners", "_waiting", "born", "count", "number", "size", "unsettled")

    def __init__(self, number: int) -> None:
        self.number = number
        self.born = 0.0
        self.count = 0
        self.size = 0
        self.unsettled = 0
        self._owners: list[tuple[Ledger, int]] = []
        self._waiting: list[Ledger | None] = []
        self._lines = BytesIO()

    def append(self, ledger: Ledger, line: bytes) -> None:
        """Add one event. Only the queue calls this, under its lock."""
        self.size += self._lines.write(line + b"\n")
        if self._owners and self._owners[-1][0] is ledger:
            self._owners[-1] = (ledger, self._owners[-1][1] + 1)
        else:
            self._owners.append((ledger, 1))
        self.count += 1
        self.unsettled += 1

    def body(self) -> bytes:
        """All events as NDJSON."""
        return self._lines.getvalue()

    def settle(self, first: int, count: int) -> list[tuple[Ledger, int]]:
        """Note that events are done with and say whose they were; those noted before do not count.

        Only the queue calls this, under its lock.
        """
        if count == self.unsettled == self.count:
            self.unsettled = 0
            return self._owners
        if not self._waiting:
            self._waiting = [ledger for ledger, number in self._owners for _ in range(number)]
        settled = [ledger for ledger in self._waiting[first : first + count] if ledger is not None]
        self._waiting[first : first + count] = [None] * count
        self.unsettled -= len(settled)
        return list(Counter(settled).items())

    def waiting_of(self, ledger: Ledger) -> int:
        """How many events of a ledger are not settled yet."""
        if self._waiting:
            return self._waiting.count(ledger)
        return sum(number for owner, number in self._owners if owner is ledger)

    def waiting(self) -> list[tuple[Ledger, int]]:
        """Whose events are not settled yet."""
        ledgers = {id(ledger): ledger for ledger, _ in self._owners}.values()
        return [(ledger, self.waiting_of(ledger)) for ledger in ledgers]


class EventQueue:
    """The queue of one worker.

    Args:
        max_bytes: The most that events not yet settled may take.
        clock: Seconds, ascending.
    """

    def __init__(
        self, max_bytes: int = MAX_QUEUE_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_bytes = max_bytes
        self._clock = clock
        #: Guards everything here and the ledgers of all clients of this queue. Reentrant, because a
        #: signal handler or a finalizer may record while the same thread is recording.
        self.lock = threading.RLock()
        self._ready = threading.Condition(self.lock)
        self._settled = threading.Condition(self.lock)
        self._stopping = threading.Condition(self.lock)
        #: Whether a thread takes batches, or is about to.
        self.has_taker = False
        self._appending = False
        self._interrupting: deque[tuple[Ledger, bytes]] = deque()
        self._taker_waits = False
        self._hurry_through = -1
        self._stopped = False
        self._open = Batch(0)
        self._sealed: deque[Batch] = deque()
        self._unsettled: dict[int, Batch] = {}
        self.bytes_held = 0

    def put(self, ledger: Ledger, line: bytes) -> bool:
        """Take an event; false, and counted by the caller, when there is no room. Never waits.

        The event counts as recorded either way.
        """
        with self.lock:
            if self._appending:
                # Interrupted in the middle of another ``put`` of this very thread.
                self._interrupting.append((ledger, line))
                return True
            self._appending = True
            try:
                taken = self._put(ledger, line)
                while self._interrupting:
                    self._put_or_drop(*self._interrupting.popleft())
                return taken
            finally:
                self._appending = False

    def _put_or_drop(self, ledger: Ledger, line: bytes) -> None:
        if not self._put(ledger, line):
            ledger.drop("queue-full")

    def _put(self, ledger: Ledger, line: bytes) -> bool:
        ledger.recorded += 1
        batch = self._open
        if self.bytes_held + len(line) >= self.max_bytes:
            return False
        if batch.size + len(line) >= MAX_BATCH_BYTES and batch.count:
            batch = self._seal()
        if not batch.count:
            batch.born = self._clock()
            self._unsettled[batch.number] = batch
        batch.append(ledger, line)
        self.bytes_held += len(line) + 1
        if batch.count >= MAX_BATCH_EVENTS:
            self._seal()
        if self._taker_waits:
            self._taker_waits = False
            self._ready.notify()
        return True

    def _seal(self) -> Batch:
        self._sealed.append(self._open)
        self._open = Batch(self._open.number + 1)
        return self._open

    def take(self) -> Batch | None:
        """Wait for a batch: a full one at once, else what has come ``LINGER_S`` after its first.

        Returns None once the queue is stopped and empty; then ``has_taker`` is false.
        """
        with self.lock:
            while True:
                if self._sealed:
                    return self._sealed.popleft()
                if self._open.count:
                    ripe_in = self._open.born + LINGER_S - self._clock()
                    if ripe_in <= 0 or self._stopped or self._open.number <= self._hurry_through:
                        self._seal()
                    else:
                        self._ready.wait(ripe_in)
                elif self._stopped:
                    self.has_taker = False
                    return None
                else:
                    self._taker_waits = True
                    self._ready.wait()
                    self._taker_waits = False

    def put_back(self) -> None:
        """Hand out again whatever is not settled, to the next taker: this one has died."""
        with self.lock:
            self.has_taker = False
            self._sealed = deque(b for b in self._unsettled.values() if b is not self._open)

    def pause(self, seconds: float) -> None:
        """Let the worker wait between tries; ``stop`` ends the pause and shortens later ones."""
        with self.lock:
            self._stopping.wait(min(seconds, LAST_TRIES_S) if self._stopped else seconds)

    def settle(self, batch: Batch, first: int, count: int, dropped: str | None = None) -> None:
        """Count events of a batch as delivered, or as dropped for a reason, and let go of them."""
        with self.lock:
            if batch.number not in self._unsettled:
                return  # given up at exit while its request was still under way
            for ledger, number in batch.settle(first, count):
                if dropped is None:
                    ledger.deliver(number)
                else:
                    ledger.drop(dropped, number)
            if batch.unsettled <= 0:
                self._unsettled.pop(batch.number, None)
                self.bytes_held -= batch.size
                self._settled.notify_all()

    def wait_until_settled(self, ledger: Ledger, timeout: float | None) -> tuple[int, int]:
        """Wait until everything put before this call is settled, at most ``timeout`` seconds.

        Returns:
            How many events of the ledger were recorded before the call, and how many of those wait.
        """
        deadline = None if timeout is None else self._clock() + timeout
        with self.lock:
            recorded = ledger.recorded
            ticket = self._open.number
            if self._open.count and not self._appending:
                self._seal()
            self.hurry(ticket)
            # A signal handler that interrupted ``put`` must not wait for what it interrupted.
            while self._first_unsettled() <= ticket and not self._appending:
                left = None if deadline is None else deadline - self._clock()
                if left is not None and left <= 0:
                    break
                self._settled.wait(left)
            return recorded, self._waiting_of(ledger, ticket)

    def hurry(self, through: int) -> None:
        """Wake the worker; batches up to this number do not linger."""
        with self.lock:
            self._hurry_through = max(self._hurry_through, through)
            self._ready.notify_all()

    def stop(self) -> None:
        """Take no time any more: ``take`` hands out what is left, then None."""
        with self.lock:
            self._stopped = True
            self._ready.notify_all()
            self._stopping.notify_all()

    def resume(self) -> None:
        """Undo ``stop``, for a client that comes after the last one had left."""
        with self.lock:
            self._stopped = False

    @property
    def is_empty(self) -> bool:
        """Whether every event put so far is settled."""
        return not self._unsettled

    def drop_all(self, reason: str) -> int:
        """Give up everything that is not settled; returns how many events that were."""
        with self.lock:
            number = 0
            for batch in self._unsettled.values():
                for ledger, waiting in batch.waiting():
                    ledger.drop(reason, waiting)
                    number += waiting
            self._unsettled.clear()
            self._sealed.clear()
            self._open = Batch(self._open.number + 1)
            self.bytes_held = 0
            self._settled.notify_all()
            return number

    def _first_unsettled(self) -> float:
        return next(iter(self._unsettled), float("inf"))

    def _waiting_of(self, ledger: Ledger, ticket: int) -> int:
        batches = self._unsettled.values()
        return sum(batch.waiting_of(ledger) for batch in batches if batch.number <= ticket)
