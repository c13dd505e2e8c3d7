"""When the span of an event began and ended, in nanoseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sessionbat._otel import values

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What other backends read as a signed number.
_LATEST_NS: Final = 2**63 - 1


def span_times_of(event: Mapping[str, Any]) -> tuple[int, int]:
    """Give start and end: two of beginning, latency and time of recording make the third."""
    observation = values.mapping(event.get("observation"))
    recorded = _moment_ns(event.get("created_at"))
    began = _moment_ns(observation.get("started_at"))
    took = values.number(values.dig(observation, "metrics", "latency_ms"))
    if isinstance(took, int | float) and took >= 0:
        took_ns = min(int(took * 1e6), _LATEST_NS)
        start = began if began is not None else max(0, (recorded or 0) - took_ns)
        return start, min(start + took_ns, _LATEST_NS)
    start = began if began is not None else recorded or 0
    return start, max(start, recorded or 0)


def _moment_ns(text: Any) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        passed = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError):
        return None
    return min(passed, _LATEST_NS) if passed >= 0 else None
