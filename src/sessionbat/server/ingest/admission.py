"""Who may bring events now, how much of them waits, and how long a body may take to arrive.

Asked before anything is read and with each piece that comes; nothing here knows what a body holds.
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
    """Admits requests while there is room; touched by the event loop only.

    Args:
        store: Takes no events while it is unwell.
        settings: The limits of bodies and of what may wait.
        stopping: Says when bodies have to be here soon.
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
        """Count the requests that were admitted and are not answered."""
        return self._all.requests

    def waiting_bytes(self) -> int:
        """Count the bytes that they hold."""
        return self._all.bytes

    @contextmanager
    def admit(self, request: Request) -> Iterator[Admitted]:
        """Hold room for a request in the block.

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

    async def read(self, request: Request, admitted: Admitted) -> bytes:
        """Read a request's body. See ``Admitted.read``."""
        limit = self._settings.max_body_bytes
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
        """The server stops: a body that is still arriving gets a little while."""
        soon = asyncio.get_running_loop().time() + _WHEN_STOPPING
        for timeout in self._reading:
            timeout.reschedule(min(soon, timeout.when() or soon))


class _Held:
    """How much is held, and how much may be."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.requests = self.bytes = 0
        self.max_requests = max_requests
        self.max_bytes = max_bytes


class Admitted:
    """One request and what it holds: of all the room, and of its app's share."""

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

    async def read(self) -> bytes:
        """Read the body.

        Raises:
            Refused: It is too large (413), too slow (408), there is no room for it, or the server
                stops (503).
            ClientDisconnect: Nobody sends it any more.
        """
        return await self._admission.read(self._request, self)

    def begin(self) -> None:
        """Hold room for the request itself."""
        if any(each.requests >= each.max_requests for each in self._held):
            raise _busy()
        self._has_begun = True
        for each in self._held:
            each.requests += 1

    def take(self, size: int) -> None:
        """Hold room for so many bytes more."""
        if any(size > each.max_bytes - each.bytes for each in self._held):
            raise _busy()
        self.bytes += size
        for each in self._held:
            each.bytes += size

    def end(self) -> None:
        """Give all room back."""
        for each in self._held:
            each.requests -= self._has_begun
            each.bytes -= self.bytes


def _busy() -> Refused:
    return Refused(
        503, "busy", "too many events are waiting; try again", headers={"Retry-After": "1"}
    )
