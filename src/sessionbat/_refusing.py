"""A transport that takes nothing: for what is recorded where it can go nowhere.

Stands in outside any session, and for a client that another process cannot make again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessionbat.event import EncodedEvent


class RefusedError(LookupError):
    """Something was recorded where it can go nowhere.

    Args:
        reason: A slug to count it by.
        message: Why.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RefusingTransport:
    """Takes nothing, so that every event is counted as dropped, and says once why.

    Args:
        reason: A slug to count them by.
        message: Why.
    """

    def __init__(self, reason: str, message: str) -> None:
        self._refusal = reason, message

    def send(self, event: EncodedEvent) -> None:
        """Refuse."""
        raise RefusedError(*self._refusal)

    def flush(self, timeout: float | None = 30.0) -> None:
        """Do nothing."""

    def close(self, timeout: float | None = 30.0) -> None:
        """Do nothing."""
