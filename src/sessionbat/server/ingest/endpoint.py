"""The ingestion endpoint for every protocol: admit a request, store its events, then answer.

The request is read here, on the event loop. One thread decodes its events, with the protocol's own
``decode``, and another one stores them (``group_commit``).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sessionbat.errors import StoreError
from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.background import Seldom, describe_failure
from sessionbat.server.ingest.admission import Admission
from sessionbat.server.ingest.body import Body, Decode, Decoded, Encoding
from sessionbat.server.ingest.group_commit import GroupCommit
from sessionbat.server.ingest.protocol import Protocol
from sessionbat.server.ingest.results import Stored
from sessionbat.server.ops.server_metrics import Measures
from sessionbat.server.reading.times import has_readable_time
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.settings import Settings
from sessionbat.server.store.parts import ReceivedPart
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.shutdown import Stopping
from sessionbat.server.web.store_refusal import refusal_of

_log = logging.getLogger("sessionbat.server")

_ENCODINGS: Final = {"", "identity", "gzip", "zstd"}
# Rejected events whose reasons are written on the event loop, a tenth of a millisecond.
_FEW: Final = 100


class Ingestion:
    """Receives events, by any protocol.

    Args:
        store: Where events are stored.
        settings: The limits on bodies and on waiting requests.
        measures: Counts events, refusals and times.
        stopping: Tells when the server stops; bodies then have to arrive soon.
    """

    def __init__(
        self, store: Store, settings: Settings, measures: Measures, stopping: Stopping
    ) -> None:
        self._measures = measures
        self._settings = settings
        self._admission = Admission(store, settings, stopping)
        self._group_commit = GroupCommit(store, on_commit=measures.note_commit)
        self._refusals = Seldom(_log, "refused-bodies", "refused %d bodies: %s")
        self._untimed = Seldom(
            _log,
            "unreadable-time",
            "%d events name a %s that cannot be read; they count at the time of receipt.",
        )
        measures.watch_waiting(self._admission.waiting_requests, self._admission.waiting_bytes)

    def route(
        self,
        protocol: Protocol,
        *,
        need: Need = Need.INGEST,
        max_body_bytes: int | None = None,
    ) -> GuardedRoute:
        """Make the route of a protocol.

        Args:
            protocol: Reads the body and writes the answer.
            need: The permission that a request needs.
            max_body_bytes: The limit of a body, if lower than the server's.
        """
        return GuardedRoute(
            protocol.path,
            _Endpoint(self, protocol, max_body_bytes or self._settings.max_body_bytes),
            need=need,
            face=Face.MACHINE,
            methods=None,  # so that 405 has the protocol's headers and form too
            headers=protocol.headers,
            refuse=protocol.refuse,
        )

    def close(self) -> None:
        """Store all accepted events, then accept no more."""
        self._group_commit.close()
        self._refusals.close()
        self._untimed.close()

    async def respond(self, request: Request, protocol: Protocol, max_bytes: int) -> Response:
        """Answer one request."""
        started = time.perf_counter()
        response = await self._respond(request, protocol, max_bytes)
        response.headers.update(protocol.headers)
        self._measures.ingest_seconds.observe(time.perf_counter() - started)
        return response

    async def _respond(self, request: Request, protocol: Protocol, max_bytes: int) -> Response:
        try:
            stored = await self._take(request, protocol, max_bytes)
            self._count(stored)
            # A body of 50,000 wrong lines is answered with as many reasons: half a second's work,
            # for which the event loop would serve nobody.
            if len(stored.rejected) > _FEW:
                return await run_in_threadpool(protocol.answer, request, stored)
            return protocol.answer(request, stored)
        except Refused as refused:
            self._measures.bodies_refused.add(1, refused.slug)
            self._refusals.note(refused.slug)
            return protocol.refuse(request, refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except StoreError as exc:
            self._measures.bodies_refused.add(1, exc.slug)
            return protocol.refuse(request, refusal_of(exc, "the store failed; try again"))
        except Exception as exc:  # noqa: BLE001 - here, so that 500 has the protocol's headers too
            _log.error("an ingestion request failed: %s", describe_failure(exc))
            return protocol.refuse(
                request, Refused(500, "internal-error", "the server failed; its log says why")
            )

    async def _take(self, request: Request, protocol: Protocol, max_bytes: int) -> Stored:
        if request.method not in protocol.methods:
            allowed = ", ".join(protocol.methods)
            raise Refused(405, "method-not-allowed", f"use {allowed}", headers={"Allow": allowed})
        decode, encoding = self._noting_times(protocol.decode(request)), _encoding(request)
        with self._admission.admit(request) as admitted:
            # Not named here: whoever names a body holds it until the answer.
            return await self._group_commit.commit(
                Body(await admitted.read(max_bytes), encoding, decode, admitted.app)
            )

    def _count(self, stored: Stored) -> None:
        self._measures.events_accepted.add(stored.accepted)
        self._measures.events_duplicate.add(stored.duplicates)
        for slug, count in Counter(rejected.slug for rejected in stored.rejected).items():
            self._measures.events_rejected.add(count, slug)

    def _noting_times(self, decode: Decode) -> Decode:
        def decode_and_note(body: Body, *, received_at_us: int) -> Decoded:
            decoded = decode(body, received_at_us=received_at_us)
            self._note_untimed(decoded.events)
            return decoded

        return decode_and_note

    def _note_untimed(self, events: Sequence[ReceivedEvent | ReceivedPart]) -> None:
        for received in events:
            created_at = (received.event or {}).get("created_at")
            if created_at is not None and not has_readable_time(created_at):
                self._measures.events_untimed.add(1)
                self._untimed.note("created_at")


class _Endpoint:
    """One protocol's ASGI endpoint; for a function, Starlette itself would answer 405 and 500."""

    def __init__(self, ingestion: Ingestion, protocol: Protocol, max_bytes: int) -> None:
        self._ingestion = ingestion
        self._protocol = protocol
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._ingestion.respond(
            Request(scope, receive), self._protocol, self._max_bytes
        )
        await response(scope, receive, send)


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
