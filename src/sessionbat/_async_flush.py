"""Waiting for a flush without holding up the event loop, nor the end of the process.

Not ``asyncio.to_thread``: the interpreter's end joins its threads, so that a flush which nobody
waits for any more (a timeout, a Ctrl-C, a cell that was interrupted) would hold it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context

from sessionbat.accounting import FlushResult


async def flushed(
    flush: Callable[[float | None], FlushResult], timeout: float | None
) -> FlushResult:
    """Call ``flush(timeout)`` in a daemon thread; where none can be started, only ask."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[FlushResult] = loop.create_future()
    context = copy_context()

    def wait() -> None:
        result = context.run(flush, timeout)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, result)

    def settle(result: FlushResult) -> None:
        if not answer.done():
            answer.set_result(result)

    try:
        threading.Thread(target=wait, name="sessionbat-flush", daemon=True).start()
    except RuntimeError:
        return flush(0)
    return await answer
