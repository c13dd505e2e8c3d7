"""A moment as RFC 3339 text, for a third of what ``datetime`` takes where it is about now."""

from __future__ import annotations

import time

#: The last second that was written out. A pair that is replaced whole: no thread sees half of it.
_written_out = (0, "1970-01-01T00:00:00")


def utc_now() -> str:
    """Write the present as UTC with microseconds: ``2026-11-22T16:00:00.123456Z``."""
    return utc_text(time.time_ns())


def utc_text(moment_ns: int) -> str:
    """Write a moment, in nanoseconds since the epoch, as UTC with microseconds."""
    global _written_out
    second, nanoseconds = divmod(moment_ns, 1_000_000_000)
    known, text = _written_out
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _written_out = (second, text)
    return f"{text}.{nanoseconds // 1000:06d}Z"
