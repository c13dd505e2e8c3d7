"""Times as events carry them: everything that RFC 3339 allows, for the store, pages and the API.

``datetime.fromisoformat`` is fast and knows less: no ``z`` in lower case, no leap second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# A second that is put in at the end of a minute, or a day that ends at 24 o'clock.
_BEYOND_THE_CLOCK: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)T(?:(?P<minute>\d\d:\d\d):60|24:00(?::00)?)"
    r"(?P<fraction>[.,]\d+)?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
)
_LONGEST: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def are_unknown(observation: Mapping[str, Any]) -> bool:
    """Whether an observation says that nobody knows when it was: ``metadata.times``.

    Then the event's ``created_at`` is the time at which it was imported, and says nothing of it.
    """
    metadata = observation.get("metadata")
    return isinstance(metadata, dict) and metadata.get("times") == "unknown"


def parse_time(text: Any) -> datetime | None:
    """Read a time that may be anything; None when it is none. A time without zone is UTC."""
    return read_time(text) if isinstance(text, str) else None


def read_time(text: str) -> datetime | None:
    """Read a time as UTC; one without a zone is UTC. None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment_or_none = _read_unusual(text.strip().upper()) if len(text) <= _LONGEST else None
        if moment_or_none is None:
            return None
        moment = moment_or_none
    if moment.tzinfo is UTC:  # of all that the SDK sends: half the price
        return moment
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None


def has_readable_time(created_at: object) -> bool:
    """Whether an event says when it was recorded, in a way that places it: from 1970 to 9998."""
    moment = read_time(created_at) if type(created_at) is str else None
    return moment is not None and moment >= _EPOCH and moment.year < 9999


def _read_unusual(text: str) -> datetime | None:
    if text[10:11] == " ":
        text = f"{text[:10]}T{text[11:]}"
    text = text.replace(" ", "", 1)  # before the zone
    try:
        beyond = _BEYOND_THE_CLOCK.fullmatch(text)
        if beyond is None:
            return datetime.fromisoformat(text)
        day, minute = beyond["day"], beyond["minute"]
        rest = (beyond["fraction"] or "") + (beyond["zone"] or "")
        if minute is not None:
            return datetime.fromisoformat(f"{day}T{minute}:59{rest}") + timedelta(seconds=1)
        return datetime.fromisoformat(f"{day}T00:00:00{rest}") + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
