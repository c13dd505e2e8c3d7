"""Admission control for ingestion: limits on waiting requests, their bytes, and slow bodies.

Checked before a body is read and with each piece of it that arrives; bodies are not interpreted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from starlette.requests import Request

from sessionbat.server.access.permissions import access_of
from sessionbat.server.ingest.body import too_large
from sessionbat.server.settings import Settings
from sessionbat.server.store.protocol import Store
from sessionbat.server.web.refusal import Refused
from sessionbat.server.web.shutdown import Stopping, stopping_refusal
from sessionbat.server.web.store_refusal import refuse_while_unwell

# How long the rest of a body may take once the server stops, in seconds.
_WHEN_STOPPING: Final = 3.0

# One app's requests hold no more of it than this: the rest is left to the others.
_SHARE_OF_ONE_APP: Final = 0.75


class Admission:
    """Admits requests while the limits allow; used by the event loop only.

    Args:
        store: Requests are refused while it is unwell.
        settings: The limits on bodies and on waiting requests.
        stopping: Tells when the server stops; bodies then have to arrive soon.
    """

    def __init__(self, store: Store, settings: Settings, stopping: Stopping) -> None:
        self._store = store
        self._settings = settings
        self._stopping = stopping
        self._all = _Held(settings.max_waiting_requests, settings.max_waiting_bytes)
        self._of_apps: dict[str, _Held] = {}
        self._reading: set[asyncio.Timeout] = set()
        stopping.on_tell(self._hurry)

    def waiting_requests(self) -> int:
        """Count the requests that are admitted and not yet answered."""
        return self._all.requests

    def waiting_bytes(self) -> int:
        """Count the bytes that those requests hold."""
        return self._all.bytes

    @contextmanager
    def admit(self, request: Request) -> Iterator[Admitted]:
        """Reserve room for a request while the block runs.

        Raises:
            Refused: The store is unwell, or there is no room (503).
        """
        refuse_while_unwell(self._store)
        app = access_of(request.scope).app
        held = [self._all]
        if app is not None:  # else of every app: there are no others to leave a share to
            held.append(self._of_apps.setdefault(app, self._share()))
        admitted = Admitted(self, request, app, held)
        try:
            admitted.begin()
            yield admitted
        finally:
            admitted.end()
            if app is not None and not held[-1].requests:
                self._of_apps.pop(app, None)

    async def read(self, request: Request, admitted: Admitted, limit: int) -> bytes:
        """Read a request's body. See ``Admitted.read``."""
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large(limit)
        chunks: list[bytes] = []
        try:
            async with self._time_to_read():
                async for chunk in request.stream():
                    admitted.take(len(chunk))
                    chunks.append(chunk)
                    if admitted.bytes > limit:
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

    def _share(self) -> _Held:
        return _Held(
            max(1, int(self._all.max_requests * _SHARE_OF_ONE_APP)),
            max(1, int(self._all.max_bytes * _SHARE_OF_ONE_APP)),
        )

    @asynccontextmanager
    async def _time_to_read(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._settings.body_timeout) as timeout:
            self._reading.add(timeout)
            try:
                yield
            finally:
                self._reading.discard(timeout)

    def _hurry(self) -> None:
        """On shutdown, shorten the deadline of bodies that are still arriving."""
        soon = asyncio.get_running_loop().time() + _WHEN_STOPPING
        for timeout in self._reading:
            timeout.reschedule(min(soon, timeout.when() or soon))


class _Held:
    """An amount of memory in use, and its limit."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.requests = self.bytes = 0
        self.max_requests = max_requests
        self.max_bytes = max_bytes


class Admitted:
    """An admitted request and the memory it uses, counted in total and for its app."""

    def __init__(
        self, admission: Admission, request: Request, app: str | None, held: Sequence[_Held]
    ) -> None:
        #: The only app that may be written to; None: every event names its own.
        self.app = app
        self.bytes = 0
        self._admission = admission
        self._request = request
        self._held = held
        self._has_begun = False

    async def read(self, limit: int) -> bytes:
        """Read the body, of so many bytes at the most.

        Raises:
            Refused: It is too large (413), too slow (408), there is no room for it, or the server
                stops (503).
            ClientDisconnect: The client has disconnected.
        """
        return await self._admission.read(self._request, self, limit)

    def begin(self) -> None:
        """Reserve room for the request itself."""
        if any(each.requests >= each.max_requests for each in self._held):
            raise _busy()
        self._has_begun = True
        for each in self._held:
            each.requests += 1

    def take(self, size: int) -> None:
        """Reserve room for more bytes."""
        if any(size > each.max_bytes - each.bytes for each in self._held):
            raise _busy()
        self.bytes += size
        for each in self._held:
            each.bytes += size

    def end(self) -> None:
        """Release everything that was reserved."""
        for each in self._held:
            each.requests -= self._has_begun
            each.bytes -= self.bytes


def _busy() -> Refused:
    return Refused(
        503, "busy", "too many events are waiting; try again", headers={"Retry-After": "1"}
    )
