"""Group commit: one thread stores all requests that arrived during the previous commit together.

There is no waiting window: an idle server commits a single event at once, a busy one commits many
requests together. Each request is answered when its events are on disk. Meanwhile another thread
decodes the next ones.

Each commit does a bounded amount of work: small requests first, app by app in turn. A larger
request is stored in several commits, and requests that arrive meanwhile are stored in between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from sessionbat.server.background import Background, describe_failure
from sessionbat.server.ingest.body import Body, Decoded
from sessionbat.server.ingest.decoder_thread import DecodedRequest, Decoding
from sessionbat.server.ingest.results import Settlement, Stored, settle
from sessionbat.server.ingest.value_limits import MAX_VALUES
from sessionbat.server.ops.store_watch import is_told_already
from sessionbat.server.records import PreparedEvent
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.fair_queue import App, FairQueue

_log = logging.getLogger("sessionbat.server")

# The limit on decoded requests that wait, in addition to one request: bounds memory.
_MAX_GROUP_BYTES: Final = 16 * 1024 * 1024
#: The most work of one commit, in microseconds as the store estimates them, beside one event: a
#: tenth of a second on a machine at rest, a half on one that is busy.
MAX_COMMIT_WORK: Final = 100_000
#: The work of one part of a large request. A request that comes during a part waits for the rest of
#: it, and its own commit may wait for one more.
MAX_PART_WORK: Final = MAX_COMMIT_WORK // 2
# Seconds that a commit should take at most, and the least work that the next one has if it took
# longer. An estimate knows nothing of how busy the machine is, nor of which sessions and labels are
# new: 100,000 microseconds were 1.6 s.
_COMMIT_SECONDS: Final = 0.15
_LEAST_WORK: Final = MAX_COMMIT_WORK // 50


class GroupCommit:
    """Stores the events of all waiting requests in one transaction at a time.

    Args:
        store: Where events are stored.
        clock_ns: Nanoseconds since 1970.
        on_commit: Called after each commit with its seconds, requests and events.
    """

    def __init__(
        self,
        store: Store,
        clock_ns: Callable[[], int] = time.time_ns,
        on_commit: Callable[[float, int, int], None] = lambda _seconds, _requests, _events: None,
    ) -> None:
        self._store = store
        self._on_commit = on_commit
        self._decoding = Decoding(store.prepare, self._take, self._has_room, clock_ns)
        self._thread = Background("sessionbat-store", self._turn, failing="a commit failed")
        # Guarded by the thread's lock.
        self._small: FairQueue[DecodedRequest] = FairQueue()
        self._large: FairQueue[DecodedRequest] = FairQueue()
        self._is_turn_of_large = False
        self._most_work = MAX_COMMIT_WORK  # of the next commit; touched by the storing thread only
        self._room = _Room()

    async def commit(self, body: Body) -> Stored:
        """Store a body's events and return when they would survive a power cut.

        Raises:
            Refused: The body cannot be read, or the server is stopping.
            StoreError: The store failed. Part of a very large body may be stored; when it is sent
                again, that part is recognized by its ids.
        """
        waiter: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._decoding.put(body, waiter)
        del body  # which may be gone before its events are stored
        return await waiter

    def close(self) -> None:
        """Store all waiting requests, then stop. May wait for the store."""
        self._decoding.close()
        self._thread.close()

    def _take(self, request: DecodedRequest) -> None:
        """Queue a decoded request. Called by the decoder threads."""
        with self._thread.changed:
            self._thread.start()
            (self._small if request.is_small else self._large).put(request.app, request)
            self._room.take(request.decoded)
            self._thread.wake()

    def _has_room(self) -> bool:
        return self._room.is_left

    def _turn(self) -> bool:
        group = self._next_group()
        if len(group) == 1 and group[0].work > self._most_work:
            self._store_in_parts(group[0])
        elif group:
            self._store_group(group)
        return bool(group)

    def _next_group(self) -> list[DecodedRequest]:
        """Wait for the next group to store: as many requests as fit, or a single larger one."""
        thread = self._thread
        with thread.changed:
            thread.wait_for(lambda: bool(self._small or self._large) or thread.is_closing)
            order = (self._small, self._large)
            waiting = [*chain(*(reversed(order) if self._is_turn_of_large else order))]
            group = [*_fitting(waiting, self._most_work)] or waiting[:1]
            # However many small ones come: the large ones have every other turn.
            self._is_turn_of_large = bool(self._large) and all(each.is_small for each in group)
            self._take_out(group)
            return group

    def _take_out(self, group: Sequence[DecodedRequest]) -> None:
        self._small.drop(each.app for each in group if each.is_small)
        self._large.drop(each.app for each in group if not each.is_small)
        self._room = _Room()
        for request in chain(self._small, self._large):
            self._room.take(request.decoded)
        self._decoding.wake()

    def _store_in_parts(self, request: DecodedRequest) -> None:
        """Store one request in several commits; its result reports a failure like any other.

        Events stored before a failure stay, and count as duplicates when they are sent again.
        """
        is_new: list[bool] = []
        started = time.perf_counter()
        try:
            while len(is_new) < len(request.events):
                part = _next_part(request.events, len(is_new), min(self._most_work, MAX_PART_WORK))
                is_new += self._append(part)
                self._store_between(request.app)
        except Exception as exc:  # noqa: BLE001 - as in _store_group
            _settle_failed([request], exc)
            return
        self._on_commit(time.perf_counter() - started, 1, len(request.events))
        settle([(request.waiter, _stored(request.decoded, is_new))])

    def _append(self, events: Sequence[PreparedEvent]) -> list[bool]:
        """Commit, and adjust the size of the next commit to the time that this one took."""
        started = time.perf_counter()
        is_new = self._store.append(events)
        change = min(1.5, _COMMIT_SECONDS / max(time.perf_counter() - started, 1e-6))
        self._most_work = int(max(_LEAST_WORK, min(self._most_work * change, MAX_COMMIT_WORK)))
        return is_new

    def _store_between(self, app: App) -> None:
        """Store requests that arrived meanwhile: all small ones, and large ones of other apps."""
        with self._thread.changed:
            others = (each for each in self._large if each.app != app)
            group = [*_fitting(chain(self._small, others), self._most_work)]
            self._take_out(group)
        if group:
            self._store_group(group)

    def _store_group(self, group: Sequence[DecodedRequest]) -> None:
        events = [event for request in group for event in request.events]
        started = time.perf_counter()
        try:
            is_new = self._append(events) if events else []
        except Exception as exc:  # noqa: BLE001 - nor may a store end it; told to who waits
            self._store_apart(group, exc)
            return
        if events:
            self._on_commit(time.perf_counter() - started, len(group), len(events))
        start = 0
        settlements: list[Settlement] = []
        for request in group:
            end = start + len(request.events)
            settlements.append((request.waiter, _stored(request.decoded, is_new[start:end])))
            start = end
        settle(settlements)

    def _store_apart(self, group: Sequence[DecodedRequest], exc: Exception) -> None:
        """After a failure, find the request that caused it, so that the others do not share it."""
        if len(group) > 1 and not is_told_already(exc):
            for request in group:
                self._store_group([request])
        else:
            _settle_failed(group, exc)


class _Room:
    """The limit on decoded requests that wait for their commit."""

    def __init__(self) -> None:
        self._bytes = _MAX_GROUP_BYTES
        self._values = MAX_VALUES

    @property
    def is_left(self) -> bool:
        return self._bytes > 0 and self._values > 0

    def take(self, decoded: Decoded) -> None:
        self._bytes -= decoded.size
        self._values -= decoded.values


def _fitting(requests: Iterable[DecodedRequest], most_work: int) -> Iterator[DecodedRequest]:
    work = 0
    for request in requests:
        work += request.work
        if work > most_work:
            return
        yield request


def _next_part(
    events: Sequence[PreparedEvent], start: int, most_work: int
) -> Sequence[PreparedEvent]:
    """Return the next events up to an amount of work, at least one."""
    end, work = start + 1, events[start].work
    while end < len(events) and (work := work + events[end].work) <= most_work:
        end += 1
    return events[start:end]


def _settle_failed(group: Sequence[DecodedRequest], exc: Exception) -> None:
    if not is_told_already(exc):
        _log.error("events could not be stored: %s", describe_failure(exc))
    settle([(request.waiter, exc) for request in group])


def _stored(decoded: Decoded, is_new: Sequence[bool]) -> Stored:
    accepted = sum(is_new)
    return Stored(accepted, len(is_new) - accepted, decoded.rejected, decoded.is_single)
