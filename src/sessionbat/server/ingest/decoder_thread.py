"""Decodes request bodies while another thread stores the events decoded before.

Small and large bodies have a thread each, so a small one never waits behind a large one. Large
bodies are decoded one at a time, and only while there is room for decoded events that are not yet
stored. Waiting bodies are taken app by app in turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sessionbat.server.background import Background, describe_failure
from sessionbat.server.ingest.body import Body, Decoded, inflates_to_at_most
from sessionbat.server.ingest.results import Waiter, settle
from sessionbat.server.records import PreparedEvent, ReceivedEvent
from sessionbat.server.store.parts import ReceivedPart
from sessionbat.server.web.fair_queue import App, FairQueue
from sessionbat.server.web.refusal import Refused

_log = logging.getLogger("sessionbat.server")

#: Bodies up to this size decompressed go before the large ones.
SMALL: Final = 64 * 1024
# The number of events to prepare at a time: the SDK's batch size.
_AT_ONCE: Final = 1000


class DecodedRequest(NamedTuple):
    """A request's decoded events, and the future that its result goes to."""

    #: The decoded body, without its events.
    decoded: Decoded
    #: Its events, prepared by the store.
    events: Sequence[PreparedEvent]
    waiter: Waiter
    #: The estimated cost of storing them, in microseconds.
    work: int
    #: The app of the request's key.
    app: App = None

    @property
    def is_small(self) -> bool:
        """Whether it is stored before large ones."""
        return self.decoded.size <= SMALL


class Decoding:
    """Decodes small and large bodies in parallel.

    Args:
        prepare: Does the part of storing that needs no database. Called in two threads.
        pass_on: Receives decoded requests. Called in the same threads.
        has_room: Whether a large body may be decoded now; ``wake`` has it asked again.
        clock_ns: Nanoseconds since 1970.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[ReceivedEvent | ReceivedPart]], Sequence[PreparedEvent]],
        pass_on: Callable[[DecodedRequest], None],
        has_room: Callable[[], bool] = lambda: True,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._prepare = prepare
        self._pass_on = pass_on
        self._clock_ns = clock_ns
        self._small = _Line("sessionbat-decoding", self._decode_one)
        self._large = _Line("sessionbat-decoding-large", self._decode_one, has_room)

    def put(self, body: Body, waiter: Waiter) -> None:
        """Queue a body; returns at once.

        Raises:
            Refused: The server is stopping.
        """
        line = self._small if _is_small(body) else self._large
        line.put(_Request(body, waiter))

    def wake(self) -> None:
        """Check again whether there is room."""
        self._large.wake()

    def close(self) -> None:
        """Decode and pass on all waiting bodies, then stop. May wait for the store."""
        self._small.close()
        self._large.close()

    def _decode_one(self, request: _Request) -> None:
        body, waiter = request
        try:
            decoded = body.decode(body, received_at_us=self._clock_ns() // 1000)
            events = self._prepare_all(decoded.events)
            work = sum([event.work for event in events])
        except Refused as refused:
            settle([(waiter, _without_frames(refused))])
        except Exception as exc:  # noqa: BLE001 - no body may end the thread
            _log.error("a body could not be decoded: %s", describe_failure(exc))
            settle([(waiter, exc)])
        else:
            self._pass_on(DecodedRequest(decoded, events, waiter, work, body.app))

    def _prepare_all(self, events: list[ReceivedEvent | ReceivedPart]) -> list[PreparedEvent]:
        """Prepare events, some at a time, and release their decoded form.

        A decoded event takes many times the memory of its JSON, and may wait long to be stored.
        """
        prepared = [*self._prepare(events[:_AT_ONCE])]
        del events[:_AT_ONCE]
        while events:
            prepared += self._prepare(events[:_AT_ONCE])
            del events[:_AT_ONCE]
        return prepared


class _Line:
    """A queue of bodies with its own thread, which the first body starts."""

    def __init__(
        self,
        name: str,
        decode: Callable[[_Request], None],
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._decode = decode
        self._may_go_on = may_go_on
        self._thread = Background(name, self._turn, failing="decoding failed")
        self._waiting: FairQueue[_Request] = FairQueue()  # guarded by the thread's lock

    def put(self, request: _Request) -> None:
        thread = self._thread
        with thread.changed:
            if thread.is_closing:
                raise Refused(503, "stopping", "the server is stopping; send this again later")
            thread.start()
            self._waiting.put(request.body.app, request)
            thread.wake()

    def wake(self) -> None:
        self._thread.wake()

    def close(self) -> None:
        self._thread.close()

    def _turn(self) -> bool:
        request = self._take()
        if request is None:
            return False
        self._decode(request)
        return True

    def _take(self) -> _Request | None:
        thread = self._thread
        with thread.changed:
            thread.wait_for(lambda: self._may_go_on() if self._waiting else thread.is_closing)
            return self._waiting.take()


class _Request(NamedTuple):
    body: Body
    waiter: Waiter


def _without_frames(refused: Refused) -> Refused:
    """Drop an exception's traceback: its frames would hold up to 32 MB until it is answered."""
    refused.__cause__ = refused.__context__ = None
    return refused.with_traceback(None)


def _is_small(body: Body) -> bool:
    """Whether a body is small decompressed; 2 KB of gzip may be 32 MB of JSON."""
    if len(body.data) > SMALL or body.encoding == "identity":
        return len(body.data) <= SMALL
    return inflates_to_at_most(SMALL, body.data, body.encoding)
