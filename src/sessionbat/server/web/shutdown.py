"""The stop of a server: what is under way is finished, what comes now is sent away.

``serving`` begins it at the signal; ``app`` then refuses whatever arrives, ``/healthz`` included,
so that a load balancer looks elsewhere; ingestion gives bodies on their way a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from sessionbat.server.web.refusal import Refused


class Stopping:
    """Whether the server is stopping, and whom to tell."""

    def __init__(self) -> None:
        self.has_begun = False
        self._callbacks: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Answer no further request; safe in a signal handler."""
        self.has_begun = True

    def on_tell(self, callback: Callable[[], None]) -> None:
        """Have something called on the event loop when the stop is under way."""
        self._callbacks.append(callback)

    def tell(self) -> None:
        """Call those; on the event loop, once."""
        self.begin()
        for callback in self._callbacks:
            callback()


def stopping_refusal() -> Refused:
    """Make the refusal of a request that comes too late."""
    return Refused(
        503,
        "stopping",
        "the server is stopping; send this again later",
        headers={"Retry-After": "1", "Connection": "close"},
    )
