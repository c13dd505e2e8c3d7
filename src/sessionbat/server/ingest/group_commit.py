"""One thread that stores what requests bring: all that waited during a commit makes the next one.

There is no waiting window: an idle server commits a lone event at once, a busy one commits many
requests together, and each is answered when its events are on the disk. Meanwhile another thread
decodes what is stored next.

A commit does bounded work. A request whose events are more than that is stored in several commits,
between which the small ones that came meanwhile have theirs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from sessionbat.server.ingest.body import Body, Decoded
from sessionbat.server.ingest.decoding import SMALL, DecodedRequest, Decoding
from sessionbat.server.ingest.settling import Settlement, Stored, describe_failure, settle
from sessionbat.server.ingest.values import MAX_VALUES
from sessionbat.server.records import PreparedEvent
from sessionbat.server.store.protocol import Store
from sessionbat.server.store_watch import is_told_already

_log = logging.getLogger("sessionbat.server")

# Of what is decoded no more waits, beside one request: bounds memory.
_MAX_GROUP_BYTES: Final = 16 * 1024 * 1024
#: The most work of one commit, in microseconds as the store estimates them, beside one event: a
#: tenth of a second on a machine at rest, a half on one that is busy.
MAX_COMMIT_WORK: Final = 100_000


class GroupCommit:
    """Stores the events of many requests, as many as wait, in one transaction each time.

    Args:
        store: Where to.
        decode: Turns a body and the time of receipt, in microseconds, into events.
        clock_ns: Nanoseconds since 1970.
        on_commit: Told of each: its seconds, requests and events.
    """

    def __init__(
        self,
        store: Store,
        decode: Callable[[Body, int], Decoded],
        clock_ns: Callable[[], int] = time.time_ns,
        on_commit: Callable[[float, int, int], None] = lambda _seconds, _requests, _events: None,
    ) -> None:
        self._store = store
        self._on_commit = on_commit
        self._decoding = Decoding(decode, store.prepare, self._take, self._has_room, clock_ns)
        self._changed = threading.Condition()  # guards these four
        self._waiting: deque[DecodedRequest] = deque()
        self._room = _Room()
        self._closing = False
        self._thread: threading.Thread | None = None

    async def commit(self, body: Body) -> Stored:
        """Store a body's events and return when they would survive a power cut.

        Raises:
            Refused: The body cannot be read, or the server is stopping.
            StoreError: The store failed; nothing of this body was stored.
        """
        waiter: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._decoding.put(body, waiter)
        return await waiter

    def close(self) -> None:
        """Store what waits, then stop; takes as long as that takes."""
        self._decoding.close()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _take(self, request: DecodedRequest) -> None:
        """Take what was decoded. Called by the decoding thread."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sessionbat-store", daemon=True
                )
                self._thread.start()
            self._waiting.append(request)
            self._room.take(request.decoded)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._room.is_left

    def _run(self) -> None:
        while group := self._next_group():
            if len(group) == 1 and group[0].work > MAX_COMMIT_WORK:
                self._store_in_parts(group[0])
            else:
                self._store_group(group)

    def _next_group(self) -> list[DecodedRequest]:
        """Wait for what is to be stored next: as many requests as fit, or one that does not."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._take_fitting()

    def _take_fitting(self) -> list[DecodedRequest]:
        """Take requests in their order as long as their work fits into one commit."""
        group = [*_fitting(self._waiting)] or [*islice(self._waiting, 1)]
        for _ in group:
            self._waiting.popleft()
        self._make_room()
        return group

    def _make_room(self) -> None:
        self._room = _Room()
        for request in self._waiting:
            self._room.take(request.decoded)
        self._decoding.wake()

    def _store_in_parts(self, request: DecodedRequest) -> None:
        """Store one request in several commits. Of a failure it is told as of any other.

        What was stored before the failure stays, and is a duplicate when it is sent again.
        """
        is_new: list[bool] = []
        started = time.perf_counter()
        try:
            for part in _parts(request.events):
                is_new += self._store.append(part)
                self._store_between()
        except Exception as exc:  # noqa: BLE001 - as in _store_group
            _settle_failed([request], exc)
            return
        self._on_commit(time.perf_counter() - started, 1, len(request.events))
        settle([(request.waiter, _stored(request.decoded, is_new))])

    def _store_between(self) -> None:
        with self._changed:
            small = [each for each in self._waiting if each.decoded.size <= SMALL]
            small = list(_fitting(small))
            for each in small:
                self._waiting.remove(each)
            self._make_room()
        if small:
            self._store_group(small)

    def _store_group(self, group: Sequence[DecodedRequest]) -> None:
        events = [event for request in group for event in request.events]
        started = time.perf_counter()
        try:
            is_new = self._store.append(events) if events else []
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
    """How much decoded may still wait for its commit."""

    def __init__(self) -> None:
        self._bytes = _MAX_GROUP_BYTES
        self._values = MAX_VALUES

    @property
    def is_left(self) -> bool:
        return self._bytes > 0 and self._values > 0

    def take(self, decoded: Decoded) -> None:
        self._bytes -= decoded.size
        self._values -= decoded.values


def _fitting(requests: Iterable[DecodedRequest]) -> Iterator[DecodedRequest]:
    work = 0
    for request in requests:
        work += request.work
        if work > MAX_COMMIT_WORK:
            return
        yield request


def _parts(events: Sequence[PreparedEvent]) -> Iterator[list[PreparedEvent]]:
    part: list[PreparedEvent] = []
    work = 0
    for event in events:
        if part and work + event.work > MAX_COMMIT_WORK:
            yield part
            part, work = [], 0
        part.append(event)
        work += event.work
    yield part


def _settle_failed(group: Sequence[DecodedRequest], exc: Exception) -> None:
    if not is_told_already(exc):
        _log.error("events could not be stored: %s", describe_failure(exc))
    settle([(request.waiter, exc) for request in group])


def _stored(decoded: Decoded, is_new: Sequence[bool]) -> Stored:
    accepted = sum(is_new)
    return Stored(accepted, len(is_new) - accepted, decoded.rejected, decoded.is_single)
