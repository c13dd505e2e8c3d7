"""Numbers and times as people read them: ``820 ms``, ``12 403``, ``3 days ago``.

Pure functions that accept any value, since the values come from events.
"""

from __future__ import annotations

from datetime import datetime

_THIN_SPACE = "\u202f"
_ENORMOUS = 1e15
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def count(value: float) -> str:
    """Format a quantity with thin spaces between thousands and at most two decimals."""
    if abs(value) >= _ENORMOUS:
        return f"{float(value):.3g}" if abs(value) < 1e300 else "over 1e300"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}".replace(",", _THIN_SPACE)
    return f"{int(value):,}".replace(",", _THIN_SPACE)


def latency(milliseconds: float) -> str:
    """Format a duration in the unit that needs the fewest digits."""
    if milliseconds < 0 or milliseconds >= _ENORMOUS:
        return f"{count(milliseconds)} ms"
    if milliseconds < 1:
        return "0 ms" if milliseconds == 0 else "<1 ms"
    if round(milliseconds) < 1000:
        return f"{round(milliseconds)} ms"
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    return _long(round(seconds))


def _long(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    for size, unit, smaller, smaller_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{count(seconds // size)} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{seconds} s"


def money(dollars: float) -> str:
    """Format an amount in US dollars with its significant digits."""
    if 0 < abs(dollars) < 0.1:
        return f"${dollars:.2g}" if abs(dollars) < 0.0001 else f"${dollars:.4f}"
    return f"${dollars:,.2f}".replace(",", _THIN_SPACE)


def estimated(dollars: float) -> str:
    """Format an amount in US dollars that nobody gave, so that it cannot be taken for one."""
    return f"≈ {money(dollars)} estimated"


def ago(moment: datetime, now: datetime) -> str:
    """Format a time relative to now, coarser the longer ago it was."""
    seconds = (now - moment).total_seconds()
    if -5 * _MINUTE <= seconds < 45:  # clocks of two machines differ by minutes, not by hours
        return "just now"
    if 0 <= seconds < 45 * _MINUTE:
        return f"{max(1, round(seconds / _MINUTE))} min ago"
    if 0 <= seconds < 22 * _HOUR:
        return f"{max(1, round(seconds / _HOUR))} h ago"
    if 0 <= seconds < 7 * _DAY:
        days = max(1, round(seconds / _DAY))
        return "yesterday" if days == 1 else f"{days} days ago"
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{moment.day} {moment:%b}{year}"


def exact(moment: datetime) -> str:
    """Format a time in full, to the second, in UTC."""
    return f"{moment.day} {moment:%b} {moment.year:04d}, {moment:%H:%M:%S} UTC"


def clock(moment: datetime) -> str:
    """Format the time of day in UTC."""
    return f"{moment:%H:%M:%S}"
