"""Graceful shutdown: requests in progress are finished, new ones are refused.

``serving`` starts it at the signal. ``app`` then refuses every new request, ``/healthz`` included,
so that a load balancer turns elsewhere; ingestion gives bodies on their way a few more seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from sessionbat.server.web.refusal import Refused


class Stopping:
    """The state of the shutdown, and its callbacks."""

    def __init__(self) -> None:
        self.has_begun = False
        self._callbacks: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Refuse new requests from now on; safe in a signal handler."""
        self.has_begun = True

    def on_tell(self, callback: Callable[[], None]) -> None:
        """Register a callback for the shutdown; called on the event loop."""
        self._callbacks.append(callback)

    def tell(self) -> None:
        """Run the shutdown callbacks, once, on the event loop."""
        self.begin()
        for callback in self._callbacks:
            callback()


def stopping_refusal() -> Refused:
    """Make the 503 for requests during shutdown."""
    return Refused(
        503,
        "stopping",
        "the server is stopping; send this again later",
        headers={"Retry-After": "1", "Connection": "close"},
    )
