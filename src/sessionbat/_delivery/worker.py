"""The host side of one destination: join, record, flush, leave, and the end of the process.

``transports`` gets a worker through ``shared_worker``. It starts the thread that delivers (see
``delivering``) at the first event, never at import or construction, and again when dead or forked.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from math import inf
from typing import Final

from sessionbat import _process_end
from sessionbat._clock import monotonic
from sessionbat._delivery.delivering import Delivery
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.keeper import Keeper
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.outcome import EventSender
from sessionbat._delivery.retry import backoff_s
from sessionbat._delivery.segment import CAN_LOCK
from sessionbat._delivery.sender import Sender
from sessionbat._delivery.spool import open_spool
from sessionbat._delivery.threads import is_ours, start_thread
from sessionbat._settings import OTLP, DeliveryOptions, Destination
from sessionbat.accounting import FlushResult, Ledger

#: At exit, an endpoint that has taken nothing for so long is left alone, if there is a spool.
EXIT_PATIENCE_S: Final = 0.4
#: One that has answered to this process may take longer: what it takes unheard is sent again.
ANSWERING_PATIENCE_S: Final = 1.0


class Worker:
    """Delivers the events of every client of one destination.

    Args:
        destination: Where to.
        options: Whether and where events are kept on disk, and how long the end may take.
        backoff: Seconds to wait after n failures in a row.
    """

    def __init__(
        self,
        destination: Destination,
        options: DeliveryOptions = DeliveryOptions(spool=False),  # noqa: B008 - immutable
        backoff: Callable[[int], float] = backoff_s,
    ) -> None:
        self.destination = destination
        self.options = options
        self._backoff = backoff
        # Of the clients that are open, and of all that may still ask what became of their events.
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._known_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._begin()

    def _begin(self) -> None:
        self._lock_type: object = threading.Lock
        self.queue = EventQueue()
        self._notices = Notices(self.destination.endpoint)
        self._sender = _sender_to(self.destination)
        self._keeper = self._new_keeper()
        self._thread: threading.Thread | None = None
        self._delivery = Delivery(
            self.queue,
            self._sender,
            self._keeper,
            self._notices,
            exit_timeout=self.options.exit_timeout,
            backoff=self._backoff,
        )
        self._seconds_for_others = self.options.exit_timeout
        # Whether each event is on disk when ``record`` returns.
        self._writes_through = self.options.durability == "sync"

    def _new_keeper(self) -> Keeper | None:
        if not self.options.spool:
            return None
        spool = open_spool(self.destination, self.options.app, self.options.spool_dir)
        if spool is None:
            self._say_no_home()
            return None
        return Keeper(self.queue, spool, self._notices, at_once=_process_end.is_child())

    def _say_no_home(self) -> None:
        global _said_no_home
        if CAN_LOCK and not _said_no_home:  # where files cannot be locked there never is a spool
            _said_no_home = True
            self._notices.spool_off("there is no home directory: set SESSIONBAT_SPOOL_DIR")

    def join(self, ledger: Ledger) -> None:
        """Serve one more client."""
        with self.queue.lock:
            ledger.restart(self.queue.lock)
            self._ledgers.add(ledger)
            self._known_ledgers.add(ledger)
            self.queue.resume()

    def record(self, ledger: Ledger, line: bytes) -> None:
        """Take one event. Never waits for the network, never raises.

        Waits for the disk only with ``durability="sync"``, and when the process is ending.
        """
        queue = self.queue
        try:
            taken = queue.put(ledger, line)
        except RuntimeError as error:
            if isinstance(error, RecursionError):
                raise
            self._renew_locks()  # eventlet has exchanged a lock, but not what waits with it
            taken = queue.put(ledger, line)
        if not taken:
            self._drop(ledger, "queue-full")
        try:
            if not queue.has_taker:
                self._start()
            if self._writes_through and self._keeper is not None and not is_ours():
                self._keeper.keep()
        except (RecursionError, MemoryError):
            pass  # the host is out of stack, and the event is queued: a later call will do it

    def flush(self, ledger: Ledger, timeout: float | None) -> FlushResult:
        """Wait until what a client recorded so far is settled, at most ``timeout`` seconds.

        Also takes up what earlier processes left, without waiting for it: it gives way to what this
        process records, and ``leave`` and the end go on with it.
        """
        self._follow_patching()
        if not self.queue.has_taker:
            if self._keeper is not None and not self._delivery.gave_up:
                while self._keeper.adopt_next() and self.queue.is_empty:
                    pass  # there was nothing usable in what was found
            self._start()
        waiting = self.queue.wait_until_settled(ledger, timeout)
        return ledger.flush_result(*waiting)

    def leave(self, ledger: Ledger, timeout: float | None) -> FlushResult:
        """Flush for a client that closes; the last one stops the threads."""
        started = monotonic()
        result = self.flush(ledger, timeout)
        with self.queue.lock:
            self._ledgers.discard(ledger)
            is_last = not self._ledgers
        if is_last and not (result.pending or result.spooled):
            left = inf if timeout is None else started + timeout - monotonic()
            self._deliver_for_others(left)
        with self.queue.lock:
            if not self._ledgers and self.queue.is_empty:
                self.queue.stop()
        return result

    def _deliver_for_others(self, seconds: float) -> None:
        """Spend time on what earlier processes left: all closings together an exit's worth."""
        started = monotonic()
        seconds = min(seconds, self._seconds_for_others)
        if seconds > 0 and self._keeper is not None and not self._delivery.gave_up:
            self._deliver_until(started + seconds)
            self._seconds_for_others -= monotonic() - started

    @property
    def is_denied(self) -> bool:
        """Whether the endpoint refuses the key or is not there; tried again once a minute."""
        return self._notices.is_denied

    def adopted(self) -> int:
        """How many events of earlier processes this one has delivered."""
        return 0 if self._keeper is None else self._keeper.adopted.delivered

    def set_aside(self) -> int:
        """How many files of the spool could not be trusted, or not be read whole."""
        return 0 if self._keeper is None else self._keeper.spool.set_aside

    def stop(self) -> None:
        """Take no time any more, until another client comes."""
        self._follow_patching()
        self.queue.stop()

    def finish(self, deadline: float, *, for_good: bool = True) -> None:
        """Deliver while that goes forward, until a point in monotonic time, and keep the rest.

        At exit. With a spool, an endpoint that fails or says nothing is not waited for.

        Args:
            deadline: When to stop delivering.
            for_good: Whether no thread can go on after this. Otherwise the process may still record
                and be gone without another word, so each later event is written to disk at once.
        """
        self.stop()
        try:
            self._delivery.answers_until = deadline if self._keeper is not None else inf
            self._deliver_until(deadline)
            if self.queue.is_empty and self._thread is not None:
                self._thread.join(EXIT_PATIENCE_S)  # it may still have to delete what is delivered
        finally:  # also when somebody loses patience and presses Ctrl-C
            self._writes_through = True
            if for_good:
                self._give_up()
            else:
                self._delivery.answers_until = inf
            self._keep_or_drop()

    def _deliver_until(self, deadline: float) -> None:
        while self._has_work() and (left := deadline - monotonic()) > 0:
            if self._delivery.failures and self._is_kept():
                return
            patience = ANSWERING_PATIENCE_S if self._delivery.knows_endpoint else EXIT_PATIENCE_S
            going = self.queue.wait_for_progress(min(left, patience))
            if not going and self._is_kept():
                return

    def _is_kept(self) -> bool:
        return self._keeper is not None and self._keeper.keep(insist=True)

    def _give_up(self) -> None:
        with self.queue.lock:
            self._delivery.gave_up = True
            self.queue.has_taker = False

    def _keep_or_drop(self) -> None:
        self._is_kept()
        number = self.queue.drop_unspooled("exit")
        if number:
            self._notices.dropped("exit", number)

    def _has_work(self) -> bool:
        keeper = self._keeper
        if self.queue.has_taker and keeper is not None and keeper.may_find_more():
            return True
        return not self.queue.is_empty  # asked last: what was being adopted may be there by now

    def restart_in_child(self) -> None:
        """Begin again in a forked child: nothing waits here, and no lock or socket is shared."""
        if self._keeper is not None:
            self._keeper.spool.abandon_in_child()
        self._sender.abandon_in_child()
        self._delivery.abandon_in_child()
        self._begin()
        for ledger in list(self._known_ledgers):
            ledger.restart(self.queue.lock)

    def _drop(self, ledger: Ledger, reason: str) -> None:
        ledger.record_dropped(reason)
        self._notices.dropped(reason, 1)

    def _start(self) -> None:
        queue, keeper = self.queue, self._keeper
        self._follow_patching()
        if not _process_end.watch():
            self._writes_through = True
        with queue.lock:
            if queue.has_taker or queue.is_empty:
                return
            started = not self._delivery.gave_up and self._start_thread(queue)
        if not started:  # not under the lock, for which the keeper's thread may be waiting
            self._end_late(queue, keeper)

    def _follow_patching(self) -> None:
        """Make the locks anew where gevent or eventlet has replaced their kind since.

        A worker of gunicorn patches after the fork. A thread that runs already goes on as it is.
        """
        if self._lock_type is not threading.Lock and not self.queue.has_taker:
            self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock_type = threading.Lock
        self.queue.has_taker = self.queue.has_keeper = False
        self.queue.make_locks()
        for ledger in list(self._known_ledgers):
            ledger.lock = self.queue.lock
        if self._keeper is not None:
            self._keeper.renew_locks()

    def _start_thread(self, queue: EventQueue) -> bool:
        queue.has_taker = True  # before it starts: a signal handler may record in between
        taker = object()
        self._delivery.taker = taker
        try:
            self._thread = start_thread("worker", self._delivery.run, taker)
        except BaseException:  # a signal handler's: nobody knows whether the thread will come
            self._delivery.taker = None
            queue.has_taker = False
            raise
        queue.has_taker = self._thread is not None
        return queue.has_taker

    def _end_late(self, queue: EventQueue, keeper: Keeper | None) -> None:
        """Keep what comes when no thread can be started: mostly because the interpreter ends."""
        if keeper is not None:
            keeper.keep()
        if self._delivery.gave_up:
            queue.drop_unspooled("exit")


#: For all destinations, and for a forked child as well.
_said_no_home = False
_workers: dict[tuple[Destination, DeliveryOptions], Worker] = {}
_workers_lock = threading.Lock()


def shared_worker(destination: Destination, options: DeliveryOptions) -> Worker:
    """Get this process's worker for a destination."""
    with _workers_lock:
        worker = _workers.get((destination, options))
        if worker is None:
            worker = _workers[destination, options] = Worker(destination, options)
        return worker


def _finish_all(for_good: bool, started: float) -> None:
    workers = list(_workers.values())
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.finish(started + worker.options.exit_timeout, for_good=for_good)


def _restart_all_in_child() -> None:
    global _workers_lock
    _workers_lock = threading.Lock()
    for worker in list(_workers.values()):
        worker.restart_in_child()


_process_end.deliver_at_end(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all_in_child)


def _sender_to(destination: Destination) -> EventSender:
    if destination.wire != OTLP:
        return Sender(destination)
    from sessionbat._delivery.otlp_sender import OtlpSender  # with what writes spans: a few ms

    return OtlpSender(destination)
