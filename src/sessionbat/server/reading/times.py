"""Times and durations as events carry them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def are_unknown(observation: Mapping[str, Any]) -> bool:
    """Whether an observation says that nobody knows when it was: ``metadata.times``.

    Then the event's ``created_at`` is the time at which it was imported, and says nothing of it.
    """
    metadata = observation.get("metadata")
    return isinstance(metadata, dict) and metadata.get("times") == "unknown"


def parse_time(text: Any) -> datetime | None:
    """Read an RFC 3339 time; None when it is none. A time without zone is UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
