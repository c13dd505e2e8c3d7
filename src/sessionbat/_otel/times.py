"""Times as LangSmith and Langfuse write them, as nanoseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sessionbat._otel import values

_MAX_CHARACTERS: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: A number below this is of seconds, above it of milliseconds.
_SECONDS_END: Final = 10**11


def time_ns(value: Any) -> int | None:
    """Read an ISO time, or seconds or milliseconds since 1970; None for anything else.

    A time without a zone is UTC, as both services take it.
    """
    if isinstance(value, str):
        return _of_text(value)
    number = values.number(value)
    if number is None or not 0 < number < 10**14:
        return None
    return int(number * (10**9 if number < _SECONDS_END else 10**6))


def _of_text(text: str) -> int | None:
    if not 0 < len(text) <= _MAX_CHARACTERS:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        passed = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    micros = (passed.days * 86_400 + passed.seconds) * 10**6 + passed.microseconds
    return micros * 1000 if micros > 0 else None
