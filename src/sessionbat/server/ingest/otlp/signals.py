"""The kinds of telemetry: where each is sent, and what of it is counted when it is rejected."""

from __future__ import annotations

from typing import Final, Literal

Signal = Literal["traces", "logs", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")

#: What clients put before the path of a signal; exporters add ``/v1/traces`` to an endpoint.
BASES: Final = ("", "/otel", "/api/public/otel")

#: The field of an answer that counts what was rejected.
REJECTED_FIELDS: Final[dict[Signal, str]] = {
    "traces": "rejectedSpans",
    "logs": "rejectedLogRecords",
    "metrics": "rejectedDataPoints",
}

#: How one of them is named in a message.
ITEMS: Final[dict[Signal, str]] = {"traces": "spans", "logs": "logRecords", "metrics": "metrics"}


def path_of(signal: Signal, base: str = "") -> str:
    """Give the address of a signal."""
    return f"{base}/v1/{signal}"
