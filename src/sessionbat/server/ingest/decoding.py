"""One thread that decodes bodies, while another stores those that came before them.

Each is passed on as soon as it is decoded. Small bodies go first; a large one is decoded only while
there is room for it, so that what was decoded and not yet stored is bounded, and small ones never
wait behind it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sessionbat.server.ingest.body import Body, Decoded, inflates_to_at_most
from sessionbat.server.ingest.settling import Waiter, describe_failure, settle
from sessionbat.server.records import PreparedEvent, ReceivedEvent
from sessionbat.server.refusal import Refused

_log = logging.getLogger("sessionbat.server")

#: A body that is no longer than this once it is inflated goes before the large ones.
SMALL: Final = 64 * 1024


class DecodedRequest(NamedTuple):
    """A request's events, and who waits to hear what becomes of them."""

    decoded: Decoded
    #: Those to be stored, as the store prepared them.
    events: Sequence[PreparedEvent]
    waiter: Waiter
    #: What storing them takes: microseconds, roughly.
    work: int


class Decoding:
    """Decodes one body after the other, of those that wait the small ones first.

    Args:
        decode: Turns a body and the time of receipt, in microseconds, into events.
        prepare: Does with events what needs no database.
        pass_on: Takes what was decoded. Called in this thread.
        has_room: Whether a large body may be decoded now; ``wake`` says that it may have changed.
        clock_ns: Nanoseconds since 1970.
    """

    def __init__(
        self,
        decode: Callable[[Body, int], Decoded],
        prepare: Callable[[Sequence[ReceivedEvent]], Sequence[PreparedEvent]],
        pass_on: Callable[[DecodedRequest], None],
        has_room: Callable[[], bool] = lambda: True,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._decode = decode
        self._prepare = prepare
        self._pass_on = pass_on
        self._has_room = has_room
        self._clock_ns = clock_ns
        self._arrived = threading.Condition()  # guards these four
        self._small: deque[_Request] = deque()
        self._large: deque[_Request] = deque()
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, body: Body, waiter: Waiter) -> None:
        """Take a body; returns at once.

        Raises:
            Refused: The server is stopping.
        """
        is_small = _is_small(body)
        with self._arrived:
            if self._closing:
                raise Refused(503, "stopping", "the server is stopping; send this again later")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sessionbat-decoding", daemon=True
                )
                self._thread.start()
            # The small ones first, each in its order: who sends much shall not make others wait.
            (self._small if is_small else self._large).append(_Request(body, waiter))
            self._arrived.notify()

    def wake(self) -> None:
        """Look again whether there is room."""
        with self._arrived:
            self._arrived.notify()

    def close(self) -> None:
        """Pass on what waits, then stop; takes as long as that takes."""
        with self._arrived:
            self._closing = True
            self._arrived.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (request := self._take()) is not None:
            self._decode_one(*request)

    def _take(self) -> _Request | None:
        with self._arrived:
            self._arrived.wait_for(self._may_go_on)
            waiting = self._small or self._large
            return waiting.popleft() if waiting else None

    def _may_go_on(self) -> bool:
        if self._small:
            return True
        return self._has_room() if self._large else self._closing

    def _decode_one(self, body: Body, waiter: Waiter) -> None:
        try:
            decoded = self._decode(body, self._clock_ns() // 1000)
            events = self._prepare(decoded.events)
            work = sum([event.work for event in events])
        except Refused as refused:
            settle([(waiter, _without_frames(refused))])
        except Exception as exc:  # noqa: BLE001 - no body may end the thread
            _log.error("a body could not be decoded: %s", describe_failure(exc))
            settle([(waiter, exc)])
        else:
            self._pass_on(DecodedRequest(decoded, events, waiter, work))


class _Request(NamedTuple):
    body: Body
    waiter: Waiter


def _without_frames(refused: Refused) -> Refused:
    """Let go of what the frames that raised it hold: 32 MB of a body each, until it is answered."""
    refused.__cause__ = refused.__context__ = None
    return refused.with_traceback(None)


def _is_small(body: Body) -> bool:
    """Whether little comes out of a body; 2 KB of gzip may be 32 MB of JSON."""
    if len(body.data) > SMALL or body.encoding == "identity":
        return len(body.data) <= SMALL
    return inflates_to_at_most(SMALL, body.data, body.encoding)
