"""How long to wait before try n. Arithmetic only: no clock, no sleeping."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 60.0
LONGEST_RETRY_AFTER_S: Final = 300.0
#: How often an endpoint that refuses the key, or is not there, is tried again.
DENIED_RETRY_S: Final = 60.0

#: Not the shared generator: a host that seeds it expects to draw alone. Without a state, so forked
#: processes do not wait in step.
_draw: Final = random.SystemRandom().random


def backoff_s(tries: int, draw: Callable[[], float] = _draw) -> float:
    """Wait before the next try after ``tries`` failures: exponential with full jitter.

    Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015. Never below a tenth of
    the first step, so that an unlucky draw does not hammer an endpoint that is just starting.
    """
    ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(max(tries, 1) - 1, 16))
    return max(FIRST_BACKOFF_S / 10, draw() * ceiling)


def retry_after_s(header: str | None, now: float) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3): seconds or a date.

    Args:
        header: The header's text, or None.
        now: Seconds since the epoch, for dates.

    Returns:
        Seconds to wait, between 0 and five minutes; None when there is nothing usable.
    """
    text = (header or "").strip()
    if not text:
        return None
    try:
        seconds = float(int(text)) if text.lstrip("-").isdigit() else _seconds_until(text, now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _seconds_until(date: str, now: float) -> float:
    return parsedate_to_datetime(date).timestamp() - now
