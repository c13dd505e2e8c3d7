"""The background thread of one destination: take, send, account. Renewed when dead or forked.

``transports`` gets one through ``shared_worker`` and calls ``record``, ``flush``, ``leave``. A
worker starts its thread at the first event, never at import or construction.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from sessionbat._clock import monotonic
from sessionbat._delivery import process_end
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.keeper import Keeper
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.oversize import cut_line
from sessionbat._delivery.parcel import Parcel
from sessionbat._delivery.retry import DENIED_RETRY_S, backoff_s
from sessionbat._delivery.segment import CAN_LOCK
from sessionbat._delivery.sender import MAX_SENDERS, Outcome, Sender, Verdict
from sessionbat._delivery.spool import open_spool
from sessionbat._host_log import host_log
from sessionbat._settings import DeliveryOptions, Destination
from sessionbat.accounting import FlushResult, Ledger

#: At exit, an endpoint that has taken nothing for so long is left alone, if there is a spool.
EXIT_PATIENCE_S: Final = 0.4
#: One that has answered to this process may take longer: what it takes unheard is sent again.
ANSWERING_PATIENCE_S: Final = 1.0
#: A helper pays once this many single events wait for each thread that sends them.
EVENTS_PER_SENDER: Final = 4
#: So many events are tried in a minute at an address that has refused each and never taken one.
MAX_DOUBTS: Final = 5
#: How soon an event that comes meanwhile is tried there.
_LOOK_EACH_S: Final = 1.0

_OURS: Final = "sessionbat-"

_log = host_log


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
        self._sender = Sender(self.destination)
        self._keeper = self._new_keeper()
        self._thread: threading.Thread | None = None
        self._taker: object = None
        self._knows_endpoint = False
        self._has_taken = False
        self._doubts = 0
        self._failures = 0
        self._gave_up = False
        self._seconds_for_others = self.options.exit_timeout
        # When the process ends, and how long the slowest of the latest requests took.
        self._answers_until = inf
        self._answer_s = 0.0
        # Whether each event is on disk when ``record`` returns.
        self._writes_through = self.options.durability == "sync"

    def _new_keeper(self) -> Keeper | None:
        if not self.options.spool:
            return None
        spool = open_spool(self.destination, self.options.app, self.options.spool_dir)
        if spool is None:
            self._say_no_home()
            return None
        return Keeper(self.queue, spool, self._notices, at_once=process_end.is_child())

    def _say_no_home(self) -> None:
        global _said_no_home
        if CAN_LOCK and not _said_no_home:  # where files cannot be locked there never is a spool
            _said_no_home = True
            self._notices.spool_off("there is no home directory: set SESSIONBAT_SPOOL_DIR")

    # Called by the host's threads.

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
            if self._writes_through and self._keeper is not None and not _is_ours():
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
            if self._keeper is not None and not self._gave_up:
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
        if seconds > 0 and self._keeper is not None and not self._gave_up:
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
            self._answers_until = deadline if self._keeper is not None else inf
            self._deliver_until(deadline)
            if self.queue.is_empty and self._thread is not None:
                self._thread.join(EXIT_PATIENCE_S)  # it may still have to delete what is delivered
        finally:  # also when somebody loses patience and presses Ctrl-C
            self._writes_through = True
            if for_good:
                self._give_up()
            else:
                self._answers_until = inf
            self._keep_or_drop()

    def _is_too_late(self) -> bool:
        """Whether what is sent now would not be answered before the end, and sent again later."""
        left = self._answers_until - monotonic()
        return left < min(2 * self._answer_s, self.options.exit_timeout / 2)

    def _deliver_until(self, deadline: float) -> None:
        while self._has_work() and (left := deadline - monotonic()) > 0:
            if self._failures and self._is_kept():
                return
            patience = ANSWERING_PATIENCE_S if self._knows_endpoint else EXIT_PATIENCE_S
            going = self.queue.wait_for_progress(min(left, patience))
            if not going and self._is_kept():
                return

    def _is_kept(self) -> bool:
        return self._keeper is not None and self._keeper.keep(insist=True)

    def _give_up(self) -> None:
        with self.queue.lock:
            self._gave_up = True
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
        self._begin()
        for ledger in list(self._known_ledgers):
            ledger.restart(self.queue.lock)

    def _drop(self, ledger: Ledger, reason: str) -> None:
        ledger.record_dropped(reason)
        self._notices.dropped(reason, 1)

    def _start(self) -> None:
        queue, keeper = self.queue, self._keeper
        self._follow_patching()
        if not process_end.watch(_settle_all):
            self._writes_through = True
        with queue.lock:
            if queue.has_taker or queue.is_empty:
                return
            started = not self._gave_up and self._start_thread(queue, keeper)
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

    def _start_thread(self, queue: EventQueue, keeper: Keeper | None) -> bool:
        queue.has_taker = True  # before it starts: a signal handler may record in between
        taker = object()
        self._taker = taker
        try:
            self._thread = _started("worker", self._run, queue, keeper, taker)
        except BaseException:  # a signal handler's: nobody knows whether the thread will come
            self._taker = None
            queue.has_taker = False
            raise
        queue.has_taker = self._thread is not None
        return queue.has_taker

    def _end_late(self, queue: EventQueue, keeper: Keeper | None) -> None:
        """Keep what comes when no thread can be started: mostly because the interpreter ends."""
        if keeper is not None:
            keeper.keep()
        if self._gave_up:
            queue.drop_unspooled("exit")

    # Runs in the thread.

    def _run(self, queue: EventQueue, keeper: Keeper | None, taker: object) -> None:
        with queue.lock:  # which who starts this holds until it is known to have started
            if self._taker is not taker:
                return
        try:
            self._start_keeper(queue, keeper)
            self._adopt(queue, keeper)
            while not self._is_over() and (batch := queue.take()) is not None:
                self._start_keeper(queue, keeper)
                self._deliver(queue, batch)
                self._adopt(queue, keeper)
            if self._is_over():
                queue.pause(0)  # who waits for progress hears that there will be none
        except BaseException:  # noqa: BLE001
            # Nothing below raises by design. If it does, the events are kept: the next ``record``
            # starts a new thread, which begins with what had not been settled.
            queue.put_back()
            _log.exception("the delivery thread stopped; another will take over. [worker-died]")

    def _is_over(self) -> bool:
        return self._gave_up or self._is_too_late()

    def _adopt(self, queue: EventQueue, keeper: Keeper | None) -> None:
        """Take up what an earlier process left, when nothing else is ready and the endpoint is."""
        while keeper is not None and not self._failures and queue.wants_more:
            if not keeper.adopt_next():
                return

    def _start_keeper(self, queue: EventQueue, keeper: Keeper | None) -> None:
        with queue.lock:
            if keeper is None or queue.has_keeper or self._gave_up:
                return
            queue.has_keeper = True  # only this thread starts one, and no signal handler runs here
            queue.has_keeper = _started("keeper", keeper.run) is not None

    def _deliver(self, queue: EventQueue, batch: Batch) -> None:
        waiting: deque[Parcel] = deque()
        self._add(queue, waiting, batch)
        while waiting and not self._gave_up:
            if self._is_too_late():
                return
            if _gives_way(queue, waiting[0].batch):
                waiting = _without_others(queue, waiting)
                continue
            if self._sends_side_by_side(waiting):
                self._deliver_side_by_side(queue, waiting)
                continue
            parcel = waiting.popleft()
            if parcel.count == 1:
                self._deliver_single(queue, waiting, parcel)
                continue
            if self._sender.takes_batches:
                left = self._deliver_many(queue, parcel)
            elif self._knows_endpoint:
                left = list(parcel.singles())
            else:
                # Any answer may say that the endpoint takes batches: ask with the first event.
                left = list(parcel.split(1))
            waiting.extendleft(reversed(left))

    def _add(self, queue: EventQueue, waiting: deque[Parcel], batch: Batch | None) -> bool:
        if batch is None:
            return False
        parcel, unreadable = Parcel.of(batch, queue.waiting_in(batch))
        if unreadable:  # on disk only, and not as it was written
            self._lose(queue, batch, unreadable)
        if parcel.count:
            waiting.appendleft(parcel)
        return True

    def _sends_side_by_side(self, waiting: deque[Parcel]) -> bool:
        return (
            self._knows_endpoint
            and not self._sender.takes_batches
            and len(waiting) > EVENTS_PER_SENDER
            and waiting[0].count == 1
        )

    def _deliver_many(self, queue: EventQueue, parcel: Parcel) -> list[Parcel]:
        started = monotonic()
        outcome = self._sender.post_batch(parcel)
        self._note_answer(started)
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
                _note_failure(parcel.batch, outcome)
                self._pause(queue, outcome)
                return [parcel]

    def _deliver_single(self, queue: EventQueue, waiting: deque[Parcel], parcel: Parcel) -> None:
        trouble = self._try_single(queue, waiting, parcel)
        if trouble is not None:
            self._hold_on(queue, waiting, trouble)

    def _try_single(
        self, queue: EventQueue, waiting: deque[Parcel], parcel: Parcel
    ) -> Outcome | None:
        """Send one event; put back what is still to be sent of it, and say why it has to wait."""
        started = monotonic()
        outcome = self._sender.post_event(parcel.body)
        self._note_answer(started)
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._succeed()
                self._has_taken = True
                self._note_duplicates(queue, parcel, outcome)
                self._settle(queue, parcel.batch, parcel.first, 1)
                return None
            case Verdict.TOO_LARGE if (shorter := cut_line(parcel.body)) is not None:
                waiting.appendleft(Parcel(parcel.batch, parcel.positions, shorter))
                return None
            case Verdict.TOO_LARGE | Verdict.REFUSED if self._has_taken or outcome.address is None:
                self._succeed()
                self._refuse(queue, parcel.batch, parcel.first, outcome.reason)
                return None
        _note_failure(parcel.batch, outcome)
        if outcome.address is None:
            waiting.appendleft(parcel)
        else:
            self._put_last(queue, waiting, parcel)
        return outcome

    def _put_last(self, queue: EventQueue, waiting: deque[Parcel], parcel: Parcel) -> None:
        """Let others be tried first: if one is taken, it was the event and not the address."""
        try:
            waiting.append(parcel.anew())
        except OSError:
            self._lose(queue, parcel.batch, list(parcel.positions))

    def _hold_on(self, queue: EventQueue, waiting: deque[Parcel], trouble: Outcome) -> None:
        """Wait before the next try; not at all while another event may show that all is well."""
        if trouble.address is None:
            self._pause(queue, trouble)
        elif trouble.verdict is Verdict.WRONG_ADDRESS:
            self._pause(queue, trouble)
            if len(waiting) == 1:
                self._add(queue, waiting, queue.take_now())
        else:
            self._doubts += 1
            untried = sum(parcel.count for parcel in waiting) > self._doubts
            if self._doubts >= MAX_DOUBTS or not (
                untried or self._add(queue, waiting, queue.take_now())
            ):
                self._doubt(queue, waiting, trouble)

    def _doubt(self, queue: EventQueue, waiting: deque[Parcel], trouble: Outcome) -> None:
        """Wait for a minute, or for an event that has not been tried at this address."""
        self._note(trouble)
        again_at = monotonic() + DENIED_RETRY_S
        while (left := again_at - monotonic()) > 0 and not self._gave_up:
            if self._doubts < MAX_DOUBTS and self._add(queue, waiting, queue.take_now()):
                return
            queue.pause(min(left, _LOOK_EACH_S))
        self._doubts = 0

    def _note_answer(self, started: float) -> None:
        self._answer_s = max(monotonic() - started, 0.9 * self._answer_s)

    def _deliver_side_by_side(self, queue: EventQueue, waiting: deque[Parcel]) -> None:
        """Send single events from several threads, which end with the work or at a failure."""
        troubles: list[Outcome] = []
        helpers = min(MAX_SENDERS, -(-len(waiting) // EVENTS_PER_SENDER)) - 1
        threads = [
            _started("sender", self._send_singles, queue, waiting, troubles) for _ in range(helpers)
        ]
        self._send_singles(queue, waiting, troubles)
        for thread in threads:
            if thread is not None:
                thread.join()
        if troubles:
            self._hold_on(queue, waiting, troubles[0])

    def _send_singles(
        self, queue: EventQueue, waiting: deque[Parcel], troubles: list[Outcome]
    ) -> None:
        while not (troubles or self._gave_up):
            try:
                parcel = waiting.popleft()
            except IndexError:
                return
            if _gives_way(queue, parcel.batch) or self._is_too_late():
                waiting.appendleft(parcel)
                return
            if parcel.count > 1:  # what was left of a batch when the endpoint refused batches
                waiting.appendleft(parcel)
                return
            trouble = self._try_single(queue, waiting, parcel)
            if trouble is not None:
                troubles.append(trouble)

    def _settle_batch(self, queue: EventQueue, parcel: Parcel, outcome: Outcome) -> None:
        for position, reason in list(parcel.refused(outcome.rejected)) if outcome.rejected else ():
            self._refuse(queue, parcel.batch, position, reason)
        self._note_duplicates(queue, parcel, outcome)
        self._settle(queue, parcel.batch, parcel.first, parcel.span)

    def _note_duplicates(self, queue: EventQueue, parcel: Parcel, outcome: Outcome) -> None:
        if outcome.duplicates:
            batch = parcel.batch
            queue.note_duplicates(batch, parcel.positions, outcome.duplicates)
            if not (outcome.sent_twice or batch.may_be_there):
                self._notices.duplicates(outcome.duplicates)

    def _settle(
        self, queue: EventQueue, batch: Batch, first: int, count: int, dropped: str | None = None
    ) -> None:
        settled = queue.settle(batch, first, count, dropped)
        if self._keeper is not None:
            self._keeper.settle(settled)

    def _lose(self, queue: EventQueue, batch: Batch, positions: list[int]) -> None:
        for position in positions:
            settled = queue.settle(batch, position, 1, dropped="spool-corrupt")
            if self._keeper is not None:  # not noted: the file is kept for people to look at
                self._keeper.spool.release(settled.free)
        self._notices.dropped("spool-corrupt", len(positions))

    def _refuse(self, queue: EventQueue, batch: Batch, position: int, reason: str) -> None:
        self._settle(queue, batch, position, 1, dropped=f"refused:{reason}")
        self._notices.dropped(f"refused:{reason}", 1)

    def _succeed(self) -> None:
        self._knows_endpoint = True
        self._doubts = 0
        self._failures = 0
        self._notices.recovered()

    def _pause(self, queue: EventQueue, outcome: Outcome) -> None:
        self._note(outcome)
        if outcome.verdict in (Verdict.DENIED, Verdict.WRONG_ADDRESS):
            queue.pause(DENIED_RETRY_S)
        elif outcome.retry_after_s is not None:
            queue.pause(outcome.retry_after_s)
        else:
            queue.pause(self._backoff(self._failures))

    def _note(self, outcome: Outcome) -> None:
        self._failures += 1
        if outcome.address is None:
            self._notices.failing(outcome.reason, denied=outcome.verdict is Verdict.DENIED)
        else:
            self._notices.wrong_address(outcome.reason, outcome.address)


def _note_failure(batch: Batch, outcome: Outcome) -> None:
    if outcome.verdict is Verdict.AGAIN:
        batch.may_be_there = True  # an answer may be lost after the events have been stored


def _started(role: str, target: Callable[..., None], *args: object) -> threading.Thread | None:
    here = threading.get_native_id()

    def run() -> None:
        if threading.get_native_id() != here:  # a green thread is its starter's own
            _take_no_signals_for_writing()
        target(*args)

    try:
        thread = threading.Thread(target=run, name=f"{_OURS}{role}", daemon=True)
        thread.start()
    except RuntimeError:  # the interpreter is shutting down, or there are no more threads
        return None
    return thread


def _gives_way(queue: EventQueue, batch: Batch) -> bool:
    """Whether events that another process left have to wait for those of this one."""
    return batch.number < 0 and queue.has_own


def _without_others(queue: EventQueue, waiting: deque[Parcel]) -> deque[Parcel]:
    """Put aside what another process left; returns what is our own."""
    for batch in {parcel.batch.number: parcel.batch for parcel in waiting}.values():
        if batch.number < 0:
            queue.put_aside(batch)
    return deque(parcel for parcel in waiting if parcel.batch.number >= 0)


def _take_no_signals_for_writing() -> None:
    """Let a write of this thread fail with an error, where the host wants to die of SIGPIPE.

    Such a signal comes to the thread that writes. It stays pending there, and ends nobody.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE, signal.SIGXFSZ})


def _is_ours() -> bool:
    """Whether this is a thread of ours: it may hold what a write to disk would wait for.

    Somebody's finalizer may record in any thread that happens to collect garbage.
    """
    return threading.current_thread().name.startswith(_OURS)


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


def _finish_all(for_good: bool = True) -> None:
    started = monotonic()
    workers = list(_workers.values())
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.finish(started + worker.options.exit_timeout, for_good=for_good)


def _settle_all() -> None:
    _finish_all(for_good=False)


def _restart_all_in_child() -> None:
    global _workers_lock
    _workers_lock = threading.Lock()
    for worker in list(_workers.values()):
        worker.restart_in_child()


# Runs after concurrent.futures has joined its threads, so what they recorded last is included.
atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all_in_child)
