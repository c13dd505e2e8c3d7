"""One thread that stores what requests bring: all that waited during a commit makes the next one.

There is no waiting window: an idle server commits a lone event at once, a busy one commits many
requests together, and each is answered when its events are on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.server.ingest.body import Body, Decoded, Rejected
from sessionbat.server.ingest.values import MAX_VALUES
from sessionbat.server.refusal import Refused
from sessionbat.server.store.protocol import Store

_log = logging.getLogger("sessionbat.server")

# A commit takes no further request once it holds this much: bounds memory, and how long one waits.
_MAX_GROUP_BYTES: Final = 16 * 1024 * 1024


# Nor once this many seconds went into decoding: who sends a bomb shall not make others wait for it.
_MAX_DECODING: Final = 0.1
_SMALL: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a request's events, once they are on the disk."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    is_single: bool


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
        self._decode = decode
        self._clock_ns = clock_ns
        self._on_commit = on_commit
        self._arrived = threading.Condition()  # guards these three
        self._waiting: deque[_Request] = deque()
        self._closing = False
        self._thread: threading.Thread | None = None

    async def commit(self, body: Body) -> Stored:
        """Store a body's events and return when they would survive a power cut.

        Raises:
            Refused: The body cannot be read, or the server is stopping.
            StoreError: The store failed; nothing of this body was stored.
        """
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        with self._arrived:
            if self._closing:
                raise Refused(503, "stopping", "the server is stopping; send this again later")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sessionbat-store", daemon=True
                )
                self._thread.start()
            self._waiting.append(_Request(body, future))
            self._arrived.notify()
        return await future

    def close(self) -> None:
        """Store what waits, then stop; takes as long as that takes."""
        with self._arrived:
            self._closing = True
            self._arrived.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        taken: deque[_Request] = deque()
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: taken or self._waiting or self._closing)
                # Of what came during the last commit the small ones first, each in its order.
                taken.extend(sorted(self._waiting, key=_is_large))
                self._waiting.clear()
            if not taken:
                return
            self._store_group(self._decode_group(taken))

    def _decode_group(self, taken: deque[_Request]) -> list[_Decoded]:
        group: list[_Decoded] = []
        size = values = 0
        until = time.perf_counter() + _MAX_DECODING
        while taken and size < _MAX_GROUP_BYTES and values < MAX_VALUES:
            if group and time.perf_counter() > until:
                break
            body, future = taken.popleft()
            try:
                decoded = self._decode(body, self._clock_ns() // 1000)
            except Refused as refused:
                _settle([(future, _without_frames(refused))])
            except Exception as exc:  # noqa: BLE001 - no body may end the thread
                _log.error("a body could not be decoded: %s", describe_failure(exc))
                _settle([(future, exc)])
            else:
                group.append(_Decoded(decoded, future))
                size += decoded.size
                values += decoded.values
        return group

    def _store_group(self, group: Sequence[_Decoded]) -> None:
        events = [event for request in group for event in request.decoded.events]
        started = time.perf_counter()
        try:
            is_new = self._store.append(events) if events else []
        except Exception as exc:  # noqa: BLE001 - nor may a store; told to who waits
            self._store_apart(group, exc)
            return
        if events:
            self._on_commit(time.perf_counter() - started, len(group), len(events))
        start = 0
        settlements = []
        for decoded, future in group:
            end = start + len(decoded.events)
            settlements.append((future, _stored(decoded, is_new[start:end])))
            start = end
        _settle(settlements)

    def _store_apart(self, group: Sequence[_Decoded], exc: Exception) -> None:
        """After a failure, find the request that caused it, so that the others do not share it."""
        if len(group) > 1:
            for request in group:
                self._store_group([request])
        else:
            _log.error("events could not be stored: %s", describe_failure(exc))
            _settle([(group[0].future, exc)])


def describe_failure(exc: Exception) -> str:
    """Describe an error for the log: what and where, never its message, which may quote a payload.

    Errors of the store are ours, name no payload, and are given in full.
    """
    if isinstance(exc, StoreError):
        return str(exc)
    places = traceback.format_tb(exc.__traceback__)
    return f"{type(exc).__name__}\n{''.join(places)}"


def _without_frames(refused: Refused) -> Refused:
    """Let go of what the frames that raised it hold: 32 MB of a body each, until it is answered."""
    refused.__cause__ = refused.__context__ = None
    return refused.with_traceback(None)


class _Request(NamedTuple):
    body: Body
    future: asyncio.Future[Stored]


def _is_large(request: _Request) -> bool:
    return len(request.body.data) > _SMALL


class _Decoded(NamedTuple):
    decoded: Decoded
    future: asyncio.Future[Stored]


_Settlement = tuple["asyncio.Future[Stored]", Stored | Exception]


def _stored(decoded: Decoded, is_new: Sequence[bool]) -> Stored:
    accepted = sum(is_new)
    return Stored(accepted, len(is_new) - accepted, decoded.rejected, decoded.is_single)


def _settle(settlements: Sequence[_Settlement]) -> None:
    """Tell those who wait, with one call into each event loop: waking it costs a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Settlement]] = {}
    for future, result in settlements:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, results in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_in_loop, results)


def _settle_in_loop(results: Sequence[_Settlement]) -> None:
    for future, result in results:
        if future.done():  # given up meanwhile
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
