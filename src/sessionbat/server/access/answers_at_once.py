"""Limits how many requests of one kind are answered at the same time, which bounds their memory.

Each kind has its own limit. Requests over it wait on the event loop and not in one of the few
threads, so forty people who open large sessions delay neither the session list nor ingestion.
Waiting requests are served app by app in turn, and the keys of one app never take every slot: one
slot stays free for other apps.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.server.access.permissions import access_of
from sessionbat.server.web.fair_queue import App, FairQueue

#: Seconds; and each further beat at twice the time of the one before.
_FIRST_BEAT: Final = 0.0125

Endpoint = Callable[[Request], Awaitable[Response]]
Answer = Callable[[Request], Response]


class AtOnce:
    """Answers up to a fixed number of requests at once, in threads; the others wait their turn."""

    def __init__(self, number: int) -> None:
        self._slots = _Slots(number)

    def __call__(self, answer: Answer) -> Endpoint:
        """Wrap a function that blocks on the store as an asynchronous endpoint."""

        async def endpoint(request: Request) -> Response:
            async with self._slots.of(access_of(request.scope).app):
                if await request.is_disconnected():
                    return Response(status_code=499)  # nobody reads it
                return await run_in_threadpool(answer, request)

        return endpoint


class _Slots:
    """A fixed number of slots and the queue for them; used by the event loop only."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._most_of_one_app = max(1, number - 1)
        self._held: Counter[App] = Counter()
        self._waiting: FairQueue[tuple[App, asyncio.Future[None]]] = FairQueue()

    @asynccontextmanager
    async def of(self, app: App) -> AsyncIterator[None]:
        """Wait for the app's turn, then hold a slot inside the block."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.put(app, (app, turn))
        self._give()
        try:
            await turn
            yield
        finally:
            # One that is no longer awaited may have been given a slot meanwhile.
            if turn.done() and not turn.cancelled():
                self._left += 1
                self._held[app] -= 1
                if not self._held[app]:
                    del self._held[app]
                self._give()

    def _give(self) -> None:
        while self._left and (waiting := self._waiting.take(self._may_have_one)):
            app, turn = waiting
            if not turn.done():  # else cancelled
                self._left -= 1
                self._held[app] += 1
                turn.set_result(None)

    def _may_have_one(self, app: App) -> bool:
        # None: those of every app, and of a server without keys; nobody to be protected from.
        return app is None or self._held[app] < self._most_of_one_app


def on_the_beat(endpoint: Endpoint, is_kept: Callable[[Request], bool]) -> Endpoint:
    """Delay each answer to the next of 12.5, 25, 50, … ms, so that its exact time reveals nothing.

    For queries whose duration depends slightly on data that the caller may not see: a search within
    one app takes longer when other apps often use the word.

    Args:
        endpoint: The endpoint to delay.
        is_kept: Whether a request's answer is delayed.
    """

    async def wait(request: Request) -> Response:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            return await endpoint(request)
        finally:
            if is_kept(request):
                taken = clock() - started
                await asyncio.sleep(_next_beat(taken) - taken)

    return wait


def _next_beat(seconds: float) -> float:
    beat = _FIRST_BEAT
    while beat < seconds:
        beat *= 2
    return beat
