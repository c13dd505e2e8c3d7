"""POST /api/v1/ingestion/events: take events, store them durably, then answer 202.

One event, a JSON array, or NDJSON; gzip, zstd or neither. A request is read here, on the event
loop; its events are decoded by one thread and stored by another (``group_commit``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, cast

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access.permissions import access_of
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.background import Seldom, describe_failure
from sessionbat.server.ingest.body import Body, Decoded, Encoding, decode_body, too_large
from sessionbat.server.ingest.group_commit import GroupCommit
from sessionbat.server.ingest.operation import CAPABILITIES, PATH
from sessionbat.server.ingest.results import Stored
from sessionbat.server.ops.server_metrics import Measures
from sessionbat.server.reading.times import has_readable_time
from sessionbat.server.settings import Settings
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.refusal import Refused, refusal_response
from sessionbat.server.web.shutdown import Stopping, stopping_refusal
from sessionbat.server.web.store_refusal import refusal_of, refuse_while_unwell

_log = logging.getLogger("sessionbat.server")

# How long the rest of a body may take once the server stops, in seconds.
_WHEN_STOPPING: Final = 3.0

_ENCODINGS: Final = {"", "identity", "gzip", "zstd"}


class Ingestion:
    """The ingestion endpoint; an ASGI application of one path.

    Args:
        store: Where events go.
        settings: The limits of bodies and of what may wait.
        measures: Where events, refusals and times are counted.
        stopping: Says when bodies have to be here soon.
    """

    def __init__(
        self, store: Store, settings: Settings, measures: Measures, stopping: Stopping
    ) -> None:
        self._store = store
        self._settings = settings
        self._measures = measures
        self._room = _Room(settings.max_waiting_requests, settings.max_waiting_bytes)
        self._group_commit = GroupCommit(store, self._decode, on_commit=measures.note_commit)
        self._refusals = Seldom(_log, "refused-bodies", "refused %d bodies: %s")
        self._untimed = Seldom(
            _log,
            "unreadable-time",
            "%d events name a %s that cannot be read; they count at the time of receipt.",
        )
        self._stopping = stopping
        self._reading: set[asyncio.Timeout] = set()
        stopping.on_tell(self._hurry)
        measures.watch_waiting(self._room.waiting_requests, self._room.waiting_bytes)

    def routes(self) -> list[GuardedRoute]:
        """Give the endpoint's route."""
        return [
            GuardedRoute(
                PATH,
                self,
                need=Need.INGEST,
                face=Face.MACHINE,
                methods=None,  # so that 405 carries the capabilities too
                headers=CAPABILITIES,
            )
        ]

    def close(self) -> None:
        """Store what was taken, then take no more."""
        self._group_commit.close()
        self._refusals.close()
        self._untimed.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        response = await self._respond(Request(scope, receive))
        response.headers.update(CAPABILITIES)
        self._measures.ingest_seconds.observe(time.perf_counter() - started)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            stored = await self._take(request)
            self._count(stored)
            return _answer(stored)
        except Refused as refused:
            self._measures.bodies_refused.add(1, refused.slug)
            self._refusals.note(refused.slug)
            return refusal_response(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except StoreError as exc:
            self._measures.bodies_refused.add(1, exc.slug)
            return refusal_response(refusal_of(exc, "the store failed; try again"))
        except Exception as exc:  # noqa: BLE001 - here, so that 500 carries the capabilities
            _log.error("an ingestion request failed: %s", describe_failure(exc))
            return refusal_response(
                Refused(500, "internal-error", "the server failed; its log says why")
            )

    async def _take(self, request: Request) -> Stored:
        if request.method != "POST":
            raise Refused(405, "method-not-allowed", "use POST", headers={"Allow": "POST"})
        is_ndjson, encoding = _is_ndjson(request), _encoding(request)
        app = access_of(request.scope).app
        refuse_while_unwell(self._store)
        with self._room.request(app) as room:
            data = await self._read(request, room)
            return await self._group_commit.commit(Body(data, encoding, is_ndjson, app))

    async def _read(self, request: Request, room: _RequestRoom) -> bytes:
        limit = self._settings.max_body_bytes
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large(limit)
        chunks: list[bytes] = []
        try:
            async with self._time_to_read():
                async for chunk in request.stream():
                    room.take(len(chunk))
                    chunks.append(chunk)
                    if room.bytes > limit:
                        raise too_large(limit)
        except TimeoutError as exc:
            if self._stopping.has_begun:
                raise stopping_refusal() from exc
            raise Refused(
                408,
                "slow-body",
                f"the body did not arrive within {self._settings.body_timeout:g} s; send it again",
                headers={"Connection": "close"},
            ) from exc
        return b"".join(chunks)

    @asynccontextmanager
    async def _time_to_read(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._settings.body_timeout) as timeout:
            self._reading.add(timeout)
            try:
                yield
            finally:
                self._reading.discard(timeout)

    def _hurry(self) -> None:
        """The server stops: a body that is still arriving gets a little while."""
        soon = asyncio.get_running_loop().time() + _WHEN_STOPPING
        for timeout in self._reading:
            timeout.reschedule(min(soon, timeout.when() or soon))

    def _count(self, stored: Stored) -> None:
        self._measures.events_accepted.add(stored.accepted)
        self._measures.events_duplicate.add(stored.duplicates)
        for slug, count in Counter(rejected.slug for rejected in stored.rejected).items():
            self._measures.events_rejected.add(count, slug)

    def _decode(self, body: Body, received_at_us: int) -> Decoded:
        decoded = decode_body(
            body,
            max_bytes=self._settings.max_body_bytes,
            max_events=self._settings.max_body_events,
            received_at_us=received_at_us,
        )
        for received in decoded.events:
            created_at = received.event.get("created_at")
            if created_at is not None and not has_readable_time(created_at):
                self._measures.events_untimed.add(1)
                self._untimed.note("created_at")
        return decoded


_RETRY_AFTER: Final = {"Retry-After": "1"}


# One app's requests hold no more of it than this: the rest is left to the others.
_SHARE_OF_ONE_APP: Final = 0.75


class _Room:
    """What requests may hold in memory together; touched by the event loop only."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._all = _Held(max_requests, max_bytes)
        self._max_of_one_app = [
            max(1, int(most * _SHARE_OF_ONE_APP)) for most in (max_requests, max_bytes)
        ]
        self._of_apps: dict[str, _Held] = {}

    def waiting_requests(self) -> int:
        return self._all.requests

    def waiting_bytes(self) -> int:
        return self._all.bytes

    @contextmanager
    def request(self, app: str | None) -> Iterator[_RequestRoom]:
        """Hold room for a request of an app's key; None: of nobody there are others beside."""
        held = [self._all]
        if app is not None:
            held.append(self._of_apps.setdefault(app, _Held(*self._max_of_one_app)))
        room = _RequestRoom(held)
        try:
            room.begin()
            yield room
        finally:
            room.end()
            if app is not None and not held[-1].requests:
                self._of_apps.pop(app, None)


class _Held:
    """How much is held, and how much may be."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.requests = self.bytes = 0
        self.max_requests = max_requests
        self.max_bytes = max_bytes


class _RequestRoom:
    """What one request holds: of all the room, and of its app's share."""

    def __init__(self, held: Sequence[_Held]) -> None:
        self._held = held
        self._has_begun = False
        self.bytes = 0

    def begin(self) -> None:
        if any(each.requests >= each.max_requests for each in self._held):
            raise _busy()
        self._has_begun = True
        for each in self._held:
            each.requests += 1

    def take(self, size: int) -> None:
        if any(size > each.max_bytes - each.bytes for each in self._held):
            raise _busy()
        self.bytes += size
        for each in self._held:
            each.bytes += size

    def end(self) -> None:
        for each in self._held:
            each.requests -= self._has_begun
            each.bytes -= self.bytes


def _busy() -> Refused:
    return Refused(503, "busy", "too many events are waiting; try again", headers=_RETRY_AFTER)


def _is_ndjson(request: Request) -> bool:
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("application/json", "application/x-ndjson"):
        raise Refused(
            415,
            "unknown-content-type",
            f"content type {media_type[:80]!r}; send application/json or application/x-ndjson",
            at="Content-Type",
        )
    return media_type == "application/x-ndjson"


def _encoding(request: Request) -> Encoding:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise Refused(
            415,
            "unknown-encoding",
            f"content encoding {encoding[:80]!r}; send zstd, gzip or none",
            at="Content-Encoding",
        )
    return cast(Encoding, encoding or "identity")


def _answer(stored: Stored) -> Response:
    if stored.is_single and stored.rejected:
        _, slug, at, message = stored.rejected[0]
        return refusal_response(Refused(422, slug, message, at=at))
    content = {
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
        "rejected": [rejected._asdict() for rejected in stored.rejected],
    }
    return Response(orjson.dumps(content), 202, media_type="application/json")
