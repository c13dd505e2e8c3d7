"""The background thread of one destination: take, send, account. Renewed when dead or forked.

``transports`` gets one through ``shared_worker`` and calls ``record``, ``flush``, ``leave``. A
worker starts its thread at the first event, never at import or construction.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from sessionbat._delivery.event_queue import Batch, EventQueue
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.oversize import cut_line
from sessionbat._delivery.parcel import Parcel
from sessionbat._delivery.retry import DENIED_RETRY_S, backoff_s
from sessionbat._delivery.sender import MAX_SENDERS, Outcome, Sender, Verdict
from sessionbat._settings import Destination
from sessionbat.accounting import FlushResult, Ledger

EXIT_TIMEOUT_S: Final = 2.0
#: A helper pays once this many single events wait for each thread that sends them.
EVENTS_PER_SENDER: Final = 4

_log = logging.getLogger("sessionbat")


class Worker:
    """Delivers the events of every client of one destination.

    Args:
        destination: Where to.
        backoff: Seconds to wait after n failures in a row.
    """

    def __init__(
        self, destination: Destination, backoff: Callable[[int], float] = backoff_s
    ) -> None:
        self.destination = destination
        self.queue = EventQueue()
        self._backoff = backoff
        self._sender = Sender(destination)
        self._notices = Notices(destination.endpoint)
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._knows_endpoint = False
        self._failures = 0
        self._gave_up = False

    # Called by the host's threads.

    def join(self, ledger: Ledger) -> None:
        """Serve one more client."""
        with self.queue.lock:
            ledger.restart(self.queue.lock)
            self._ledgers.add(ledger)
            self.queue.resume()

    def record(self, ledger: Ledger, line: bytes) -> None:
        """Take one event. Never waits for the network or the disk, never raises."""
        queue = self.queue
        if not queue.put(ledger, line):
            self._drop(ledger, "queue-full")
        if not queue.has_taker:
            self._start()

    def flush(self, ledger: Ledger, timeout: float | None) -> FlushResult:
        """Wait until what a client recorded so far is settled, at most ``timeout`` seconds."""
        if not self.queue.has_taker:
            self._start()
        recorded, pending = self.queue.wait_until_settled(ledger, timeout)
        return ledger.flush_result(recorded, pending, 0)

    def leave(self, ledger: Ledger, timeout: float | None) -> FlushResult:
        """Flush for a client that closes; the last one stops the thread."""
        result = self.flush(ledger, timeout)
        with self.queue.lock:
            self._ledgers.discard(ledger)
            last = not self._ledgers
        if last and not result.pending:
            self.queue.stop()
        return result

    def finish(self, deadline: float) -> None:
        """Deliver what can be delivered until a point in monotonic time, drop the rest. At exit."""
        self.queue.stop()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(max(0.0, deadline - time.monotonic()))
        self._gave_up = True
        number = self.queue.drop_all("exit")
        if number:
            self._notices.dropped("exit", number)

    def restart_in_child(self) -> None:
        """Begin again in a forked child: nothing waits here, and no lock or socket is shared."""
        self.queue = EventQueue(self.queue.max_bytes)
        for ledger in list(self._ledgers):
            ledger.restart(self.queue.lock)
        self._sender = Sender(self.destination)
        self._notices = Notices(self.destination.endpoint)
        self._thread = None
        self._failures = 0

    def _drop(self, ledger: Ledger, reason: str) -> None:
        with self.queue.lock:
            ledger.drop(reason)
        self._notices.dropped(reason, 1)

    def _start(self) -> None:
        queue = self.queue
        with queue.lock:
            if queue.has_taker or queue.is_empty:
                return
            if self._gave_up:
                queue.drop_all("exit")
                return
            self._thread = threading.Thread(
                target=self._run, args=(queue,), name="sessionbat-worker", daemon=True
            )
            queue.has_taker = True
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down and starts no more threads
                queue.has_taker = False
                queue.drop_all("exit")

    # Runs in the thread.

    def _run(self, queue: EventQueue) -> None:
        try:
            while (batch := queue.take()) is not None:
                self._deliver(queue, batch)
        except BaseException:  # noqa: BLE001
            # Nothing below raises by design. If it does, the events are kept: the next ``record``
            # starts a new thread, which begins with what had not been settled.
            queue.put_back()
            _log.exception("the delivery thread stopped; another will take over. [worker-died]")

    def _deliver(self, queue: EventQueue, batch: Batch) -> None:
        waiting = deque([Parcel.whole(batch)])
        while waiting and not self._gave_up:
            if self._sends_side_by_side(waiting):
                self._deliver_side_by_side(queue, waiting)
                continue
            parcel = waiting.popleft()
            if parcel.count == 1:
                left = self._deliver_single(queue, parcel)
            elif self._sender.takes_batches:
                left = self._deliver_many(queue, parcel)
            elif self._knows_endpoint:
                left = list(parcel.singles())
            else:
                # Any answer may say that the endpoint takes batches: ask with the first event.
                left = list(parcel.split(1))
            waiting.extendleft(reversed(left))

    def _sends_side_by_side(self, waiting: deque[Parcel]) -> bool:
        return (
            self._knows_endpoint
            and not self._sender.takes_batches
            and len(waiting) > EVENTS_PER_SENDER
            and waiting[0].count == 1
        )

    def _deliver_many(self, queue: EventQueue, parcel: Parcel) -> list[Parcel]:
        outcome = self._sender.post_batch(parcel.body, parcel.count)
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._succeed()
                self._settle_batch(queue, parcel, outcome)
                return []
            case Verdict.HALVE:
                return list(parcel.split(parcel.count // 2))
            case Verdict.NO_BATCHES:
                self._sender.forget_batches()
                return [parcel]
            case _:
                self._pause(queue, outcome)
                return [parcel]

    def _deliver_single(self, queue: EventQueue, parcel: Parcel) -> list[Parcel]:
        left, trouble = self._try_single(queue, parcel)
        if trouble is not None:
            self._pause(queue, trouble)
        return left

    def _try_single(self, queue: EventQueue, parcel: Parcel) -> tuple[list[Parcel], Outcome | None]:
        """Send one event: what is still to be sent of it, and why it has to wait, if it has to."""
        outcome = self._sender.post_event(parcel.body)
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._succeed()
                queue.settle(parcel.batch, parcel.first, 1)
            case Verdict.TOO_LARGE if (shorter := cut_line(parcel.body)) is not None:
                return [Parcel(parcel.batch, parcel.first, 1, shorter)], None
            case Verdict.TOO_LARGE | Verdict.REFUSED:
                self._succeed()
                self._refuse(queue, parcel.batch, parcel.first, outcome.reason)
            case _:
                return [parcel], outcome
        return [], None

    def _deliver_side_by_side(self, queue: EventQueue, waiting: deque[Parcel]) -> None:
        """Send single events from several threads, which end with the work or at a failure."""
        troubles: list[Outcome] = []
        helpers = min(MAX_SENDERS, -(-len(waiting) // EVENTS_PER_SENDER)) - 1
        threads = [
            threading.Thread(
                target=self._send_singles,
                args=(queue, waiting, troubles),
                name="sessionbat-sender",
                daemon=True,
            )
            for _ in range(helpers)
        ]
        started = [thread for thread in threads if _started(thread)]
        self._send_singles(queue, waiting, troubles)
        for thread in started:
            thread.join()
        if troubles:
            self._pause(queue, troubles[0])

    def _send_singles(
        self, queue: EventQueue, waiting: deque[Parcel], troubles: list[Outcome]
    ) -> None:
        while not (troubles or self._gave_up):
            try:
                parcel = waiting.popleft()
            except IndexError:
                return
            if parcel.count > 1:  # what was left of a batch when the endpoint refused batches
                waiting.appendleft(parcel)
                return
            left, trouble = self._try_single(queue, parcel)
            waiting.extendleft(left)
            if trouble is not None:
                troubles.append(trouble)

    def _settle_batch(self, queue: EventQueue, parcel: Parcel, outcome: Outcome) -> None:
        reasons = dict(outcome.rejected)
        for position, event_id in list(parcel.positions(set(reasons))) if reasons else ():
            self._refuse(queue, parcel.batch, position, reasons[event_id])
        queue.settle(parcel.batch, parcel.first, parcel.count)

    def _refuse(self, queue: EventQueue, batch: Batch, position: int, reason: str) -> None:
        queue.settle(batch, position, 1, dropped=f"refused:{reason}")
        self._notices.dropped(f"refused:{reason}", 1)

    def _succeed(self) -> None:
        self._knows_endpoint = True
        self._failures = 0
        self._notices.recovered()

    def _pause(self, queue: EventQueue, outcome: Outcome) -> None:
        self._failures += 1
        denied = outcome.verdict is Verdict.DENIED
        self._notices.failing(outcome.reason, denied=denied)
        if denied:
            queue.pause(DENIED_RETRY_S)
        elif outcome.retry_after_s is not None:
            queue.pause(outcome.retry_after_s)
        else:
            queue.pause(self._backoff(self._failures))


def _started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down, or there are no more threads
        return False
    return True


_workers: dict[Destination, Worker] = {}
_workers_lock = threading.Lock()


def shared_worker(destination: Destination) -> Worker:
    """Get this process's worker for a destination."""
    with _workers_lock:
        worker = _workers.get(destination)
        if worker is None:
            worker = _workers[destination] = Worker(destination)
        return worker


def _finish_all() -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT_S
    workers = list(_workers.values())
    for worker in workers:
        worker.queue.stop()
    for worker in workers:
        worker.finish(deadline)


def _restart_all_in_child() -> None:
    global _workers_lock
    _workers_lock = threading.Lock()
    for worker in list(_workers.values()):
        worker.restart_in_child()


# Runs after concurrent.futures has joined its threads, so what they recorded last is included.
atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all_in_child)
