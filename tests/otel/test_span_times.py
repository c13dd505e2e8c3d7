"""When a span that is written begins and ends: of three times, two are enough."""

from __future__ import annotations

from typing import Any

import pytest

from sessionbat._otel.span_writing import export_request


def timed(started_at: Any, created_at: Any, latency_ms: Any) -> tuple[int, int]:
    observation = {"kind": "llm", "started_at": started_at, "metrics": {"latency_ms": latency_ms}}
    event = {"type": "llm", "id": "x", "created_at": created_at, "observation": observation}
    (resource,) = export_request([event], "1.0")["resourceSpans"]
    ((span,),) = [scope["spans"] for scope in resource["scopeSpans"]]
    return int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])


@pytest.mark.parametrize(
    ("started_at", "created_at", "latency_ms", "seconds"),
    [
        ("1970-01-01T00:00:05Z", "1970-01-01T00:00:09Z", 1500, (5, 6.5)),
        (None, "1970-01-01T00:00:09Z", 1500, (7.5, 9)),
        ("1970-01-01T00:00:05Z", "1970-01-01T00:00:09Z", None, (5, 9)),
        (None, "1970-01-01T00:00:09Z", None, (9, 9)),
        ("1970-01-01T02:00:05+02:00", "1970-01-01T00:00:09Z", 1500, (5, 6.5)),
        ("yesterday", "1970-01-01T00:00:09Z", 1500, (7.5, 9)),
        ("1970-01-01T00:00:10Z", "1970-01-01T00:00:09Z", None, (10, 10)),
        (None, "1970-01-01T00:00:01Z", 60_000, (0, 60)),
        (None, "1970-01-01T00:00:09Z", -1, (9, 9)),
        (None, None, None, (0, 0)),
        (7, [], "soon", (0, 0)),
    ],
)
def test_two_of_beginning_latency_and_recording_make_the_times(
    started_at: Any, created_at: Any, latency_ms: Any, seconds: tuple[float, float]
) -> None:
    assert timed(started_at, created_at, latency_ms) == tuple(int(s * 1e9) for s in seconds)


@pytest.mark.parametrize("latency_ms", [1e300, 2**62, 1e15])
@pytest.mark.parametrize("created_at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+12:00"])
def test_a_time_beyond_64_bits_is_the_last_that_there_is(created_at: str, latency_ms: Any) -> None:
    start, end = timed(None, created_at, latency_ms)
    assert 0 <= start <= end < 2**63
    start, end = timed(created_at, None, latency_ms)
    assert 0 <= start <= end < 2**63
