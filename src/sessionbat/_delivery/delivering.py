"""The thread side of a worker: take, send, account, and wait where the endpoint says no.

``worker`` starts a thread on ``Delivery.run`` and reads a few facts of it; everything else in here
is that thread's own, and its helpers' while single events go side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from sessionbat._clock import monotonic
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.keeper import Keeper
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.outcome import EventSender, Outcome, Verdict
from sessionbat._delivery.oversize import cut_line
from sessionbat._delivery.parcel import Parcel
from sessionbat._delivery.posting import MAX_SENDERS
from sessionbat._delivery.retry import DENIED_RETRY_S
from sessionbat._delivery.threads import start_thread
from sessionbat._host_log import host_log

#: A helper pays once this many single events wait for each thread that sends them.
EVENTS_PER_SENDER: Final = 4
#: So many events are tried in a minute at an address that has refused each and never taken one.
MAX_DOUBTS: Final = 5
#: How soon an event that comes meanwhile is tried there.
_LOOK_EACH_S: Final = 1.0

_log = host_log


class Delivery:
    """Takes what waits in a queue to an endpoint, and says what became of it.

    Args:
        queue: Whose events.
        sender: Posts them.
        keeper: Keeps on disk what is not delivered; None without a spool.
        notices: Told of failures and losses.
        exit_timeout: Seconds that the end of the process may take.
        backoff: Seconds to wait after n failures in a row.
    """

    def __init__(
        self,
        queue: EventQueue,
        sender: EventSender,
        keeper: Keeper | None,
        notices: Notices,
        *,
        exit_timeout: float,
        backoff: Callable[[int], float],
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._keeper = keeper
        self._notices = notices
        self._exit_timeout = exit_timeout
        self._backoff = backoff
        #: Written by the worker: which thread may run, whether none may, and when the process ends.
        self.taker: object = None
        self.gave_up = False
        self.answers_until = inf
        #: Read by the worker: whether the endpoint has ever taken anything, and failures since.
        self.knows_endpoint = False
        self.failures = 0
        # Whether it has taken a single event, and how many it has refused that may be good.
        self._has_taken = False
        self._doubts = 0
        # How long the slowest of the latest requests took.
        self._answer_s = 0.0

    def run(self, taker: object) -> None:
        """Deliver until the queue stops or the end comes; what the thread does.

        Args:
            taker: What this thread was started as; another one may have been since.
        """
        with self._queue.lock:  # which who starts this holds until it is known to have started
            if self.taker is not taker:
                return
        try:
            self._start_keeper()
            self._adopt()
            while not self._is_over() and (batch := self._queue.take()) is not None:
                self._start_keeper()
                self._deliver(batch)
                self._adopt()
            if self._is_over():
                self._queue.pause(0)  # who waits for progress hears that there will be none
        except BaseException:  # noqa: BLE001
            # Nothing below raises by design. If it does, the events are kept: the next ``record``
            # starts a new thread, which begins with what had not been settled.
            self._queue.put_back()
            _log.exception("the delivery thread stopped; another will take over. [worker-died]")

    def abandon_in_child(self) -> None:
        """End in a forked child, where a green thread would go on with the parent's events."""
        self.taker, self.gave_up = None, True

    def _is_over(self) -> bool:
        return self.gave_up or self._is_too_late()

    def _is_too_late(self) -> bool:
        """Whether what is sent now would not be answered before the end, and sent again later."""
        left = self.answers_until - monotonic()
        return left < min(2 * self._answer_s, self._exit_timeout / 2)

    def _adopt(self) -> None:
        """Take up what an earlier process left, when nothing else is ready and the endpoint is."""
        while self._keeper is not None and not self.failures and self._queue.wants_more:
            if not self._keeper.adopt_next():
                return

    def _start_keeper(self) -> None:
        with self._queue.lock:
            if self._keeper is None or self._queue.has_keeper or self.gave_up:
                return
            # Only this thread starts one, and no signal handler runs here.
            self._queue.has_keeper = True
            self._queue.has_keeper = start_thread("keeper", self._keeper.run) is not None

    def _deliver(self, batch: Batch) -> None:
        waiting: deque[Parcel] = deque()
        self._add(waiting, batch)
        while waiting and not self.gave_up:
            if self._is_too_late():
                return
            if self._gives_way(waiting[0].batch):
                waiting = self._without_others(waiting)
                continue
            if self._sends_side_by_side(waiting):
                self._deliver_side_by_side(waiting)
                continue
            parcel = waiting.popleft()
            if parcel.count == 1:
                self._deliver_single(waiting, parcel)
                continue
            if self._sender.takes_batches:
                left = self._deliver_many(parcel)
            elif self.knows_endpoint:
                left = list(parcel.singles())
            else:
                # Any answer may say that the endpoint takes batches: ask with the first event.
                left = list(parcel.split(1))
            waiting.extendleft(reversed(left))

    def _gives_way(self, batch: Batch) -> bool:
        """Whether events that another process left have to wait for those of this one."""
        return batch.number < 0 and self._queue.has_own

    def _without_others(self, waiting: deque[Parcel]) -> deque[Parcel]:
        """Put aside what another process left; returns what is our own."""
        for batch in {parcel.batch.number: parcel.batch for parcel in waiting}.values():
            if batch.number < 0:
                self._queue.put_aside(batch)
        return deque(parcel for parcel in waiting if parcel.batch.number >= 0)

    def _add(self, waiting: deque[Parcel], batch: Batch | None) -> bool:
        if batch is None:
            return False
        parcel, unreadable = Parcel.of(batch, self._queue.waiting_in(batch))
        if unreadable:  # on disk only, and not as it was written
            self._lose(batch, unreadable)
        if parcel.count:
            waiting.appendleft(parcel)
        return True

    def _sends_side_by_side(self, waiting: deque[Parcel]) -> bool:
        return (
            self.knows_endpoint
            and not self._sender.takes_batches
            and len(waiting) > EVENTS_PER_SENDER
            and waiting[0].count == 1
        )

    def _deliver_many(self, parcel: Parcel) -> list[Parcel]:
        started = monotonic()
        outcome = self._sender.post_batch(parcel)
        self._note_answer(started)
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._succeed()
                self._settle_batch(parcel, outcome)
                return []
            case Verdict.HALVE:
                return list(parcel.split(parcel.count // 2))
            case Verdict.NO_BATCHES:
                self._sender.forget_batches()
                return [parcel]
            case _:
                _note_failure(parcel.batch, outcome)
                self._pause(outcome)
                return [parcel]

    def _deliver_single(self, waiting: deque[Parcel], parcel: Parcel) -> None:
        trouble = self._try_single(waiting, parcel)
        if trouble is not None:
            self._hold_on(waiting, trouble)

    def _try_single(self, waiting: deque[Parcel], parcel: Parcel) -> Outcome | None:
        """Send one event; put back what is still to be sent of it, and say why it has to wait."""
        started = monotonic()
        outcome = self._sender.post_event(parcel.body)
        self._note_answer(started)
        match outcome.verdict:
            case Verdict.ACCEPTED:
                self._succeed()
                self._has_taken = True
                self._note_duplicates(parcel, outcome)
                self._settle(parcel.batch, parcel.first, 1)
                return None
            case Verdict.TOO_LARGE if (shorter := cut_line(parcel.body)) is not None:
                waiting.appendleft(Parcel(parcel.batch, parcel.positions, shorter))
                return None
            case Verdict.TOO_LARGE | Verdict.REFUSED if self._has_taken or outcome.address is None:
                self._succeed()
                self._refuse(parcel.batch, parcel.first, outcome.reason)
                return None
        _note_failure(parcel.batch, outcome)
        if outcome.address is None:
            waiting.appendleft(parcel)
        else:
            self._put_last(waiting, parcel)
        return outcome

    def _put_last(self, waiting: deque[Parcel], parcel: Parcel) -> None:
        """Let others be tried first: if one is taken, it was the event and not the address."""
        try:
            waiting.append(parcel.anew())
        except OSError:
            self._lose(parcel.batch, list(parcel.positions))

    def _hold_on(self, waiting: deque[Parcel], trouble: Outcome) -> None:
        """Wait before the next try; not at all while another event may show that all is well."""
        if trouble.address is None:
            self._pause(trouble)
        elif trouble.verdict is Verdict.WRONG_ADDRESS:
            self._pause(trouble)
            if len(waiting) == 1:
                self._add(waiting, self._queue.take_now())
        else:
            self._doubts += 1
            untried = sum(parcel.count for parcel in waiting) > self._doubts
            if self._doubts >= MAX_DOUBTS or not (
                untried or self._add(waiting, self._queue.take_now())
            ):
                self._doubt(waiting, trouble)

    def _doubt(self, waiting: deque[Parcel], trouble: Outcome) -> None:
        """Wait for a minute, or for an event that has not been tried at this address."""
        self._note(trouble)
        again_at = monotonic() + DENIED_RETRY_S
        while (left := again_at - monotonic()) > 0 and not self.gave_up:
            if self._doubts < MAX_DOUBTS and self._add(waiting, self._queue.take_now()):
                return
            self._queue.pause(min(left, _LOOK_EACH_S))
        self._doubts = 0

    def _note_answer(self, started: float) -> None:
        self._answer_s = max(monotonic() - started, 0.9 * self._answer_s)

    def _deliver_side_by_side(self, waiting: deque[Parcel]) -> None:
        """Send single events from several threads, which end with the work or at a failure."""
        troubles: list[Outcome] = []
        helpers = min(MAX_SENDERS, -(-len(waiting) // EVENTS_PER_SENDER)) - 1
        threads = [
            start_thread("sender", self._send_singles, waiting, troubles) for _ in range(helpers)
        ]
        self._send_singles(waiting, troubles)
        for thread in threads:
            if thread is not None:
                thread.join()
        if troubles:
            self._hold_on(waiting, troubles[0])

    def _send_singles(self, waiting: deque[Parcel], troubles: list[Outcome]) -> None:
        while not (troubles or self.gave_up):
            try:
                parcel = waiting.popleft()
            except IndexError:
                return
            if self._gives_way(parcel.batch) or self._is_too_late():
                waiting.appendleft(parcel)
                return
            if parcel.count > 1:  # what was left of a batch when the endpoint refused batches
                waiting.appendleft(parcel)
                return
            trouble = self._try_single(waiting, parcel)
            if trouble is not None:
                troubles.append(trouble)

    def _settle_batch(self, parcel: Parcel, outcome: Outcome) -> None:
        for position, reason in list(parcel.refused(outcome.rejected)) if outcome.rejected else ():
            self._refuse(parcel.batch, position, reason)
        self._note_duplicates(parcel, outcome)
        self._settle(parcel.batch, parcel.first, parcel.span)

    def _note_duplicates(self, parcel: Parcel, outcome: Outcome) -> None:
        if outcome.duplicates:
            batch = parcel.batch
            self._queue.note_duplicates(batch, parcel.positions, outcome.duplicates)
            if not (outcome.sent_twice or batch.may_be_there):
                self._notices.duplicates(outcome.duplicates)

    def _settle(self, batch: Batch, first: int, count: int, dropped: str | None = None) -> None:
        settled = self._queue.settle(batch, first, count, dropped)
        if self._keeper is not None:
            self._keeper.settle(settled)

    def _lose(self, batch: Batch, positions: list[int]) -> None:
        for position in positions:
            settled = self._queue.settle(batch, position, 1, dropped="spool-corrupt")
            if self._keeper is not None:  # not noted: the file is kept for people to look at
                self._keeper.spool.release(settled.free)
        self._notices.dropped("spool-corrupt", len(positions))

    def _refuse(self, batch: Batch, position: int, reason: str) -> None:
        self._settle(batch, position, 1, dropped=f"refused:{reason}")
        self._notices.dropped(f"refused:{reason}", 1)

    def _succeed(self) -> None:
        self.knows_endpoint = True
        self._doubts = 0
        self.failures = 0
        self._notices.recovered()

    def _pause(self, outcome: Outcome) -> None:
        self._note(outcome)
        if outcome.verdict in (Verdict.DENIED, Verdict.WRONG_ADDRESS):
            self._queue.pause(DENIED_RETRY_S)
        elif outcome.retry_after_s is not None:
            self._queue.pause(outcome.retry_after_s)
        else:
            self._queue.pause(self._backoff(self.failures))

    def _note(self, outcome: Outcome) -> None:
        self.failures += 1
        if outcome.address is None:
            self._notices.failing(outcome.reason, denied=outcome.verdict is Verdict.DENIED)
        else:
            self._notices.wrong_address(outcome.reason, outcome.address)


def _note_failure(batch: Batch, outcome: Outcome) -> None:
    if outcome.verdict is Verdict.AGAIN:
        batch.may_be_there = True  # an answer may be lost after the events have been stored
