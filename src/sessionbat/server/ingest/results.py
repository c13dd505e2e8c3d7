"""Passes the results of requests from the ingestion threads to the waiting event loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sessionbat.server.ingest.body import Rejected


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of a request whose events are on disk."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    is_single: bool


Waiter = asyncio.Future[Stored]
Settlement = tuple[Waiter, Stored | Exception]


def settle(settlements: Sequence[Settlement]) -> None:
    """Resolve the waiting futures with one call into each event loop: a wake is a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Settlement]] = {}
    for waiter, result in settlements:
        by_loop.setdefault(waiter.get_loop(), []).append((waiter, result))
    for loop, results in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_in_loop, results)


def _settle_in_loop(results: Sequence[Settlement]) -> None:
    for waiter, result in results:
        if waiter.done():  # given up meanwhile
            continue
        if isinstance(result, Exception):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)
