"""Parses times in events: everything that RFC 3339 allows, for the store, pages and the API.

``datetime.fromisoformat`` is fast but accepts less: no lower-case ``z``, no leap second.
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
    """Whether ``metadata.times`` marks the time of an observation as unknown.

    Then ``created_at`` is only the time of the import.
    """
    metadata = observation.get("metadata")
    return isinstance(metadata, dict) and marks_times_unknown(metadata)


def marks_times_unknown(metadata: Mapping[str, Any]) -> bool:
    """Whether this is the metadata of an observation whose time is unknown."""
    return bool(metadata.get("times") == "unknown")


def parse_time(text: Any) -> datetime | None:
    """Parse any value as a time; None when it is none. A time without a zone is UTC."""
    return read_time(text) if isinstance(text, str) else None


def read_time(text: str) -> datetime | None:
    """Parse a text as a time in UTC, which is also the default zone; None when it is no time."""
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
    """Whether an event has a readable ``created_at`` between 1970 and 9998."""
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
