"""How many answers of a kind are made at once: bounds their memory, and who waits for whom.

Each kind has its own number, and waits on the event loop rather than in one of the few threads: so
forty people who look at large sessions make neither the list nor ingestion wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

#: Seconds; and each further beat at twice the time of the one before.
_FIRST_BEAT: Final = 0.0125

Endpoint = Callable[[Request], Awaitable[Response]]
Answer = Callable[[Request], Response]


class AtOnce:
    """Lets so many answers be made at the same time, in threads; the others wait their turn."""

    def __init__(self, number: int) -> None:
        self._turns = asyncio.Semaphore(number)

    def __call__(self, answer: Answer) -> Endpoint:
        """Make an endpoint of a function that waits for the store."""

        async def endpoint(request: Request) -> Response:
            async with self._turns:
                if await request.is_disconnected():
                    return Response(status_code=499)  # nobody reads it
                return await run_in_threadpool(answer, request)

        return endpoint


def on_the_beat(endpoint: Endpoint, is_kept: Callable[[Request], bool]) -> Endpoint:
    """Answer at 12.5, 25, 50, … ms and at no other time.

    For questions whose time depends a little on what the asker may not see, as a search within one
    app does on how often other apps have the word.

    Args:
        endpoint: Answers.
        is_kept: Whether a request is answered so.
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
