"""What waits in the spools of this user: to list, to send, to write out.

For ``sessionbat spool``. Reads what processes have left behind or are keeping just now, and takes
nothing away from them; only ``send`` adopts, as any later process of the same app would.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sessionbat._delivery.segment import SUFFIX, Segment
from sessionbat._delivery.spool import ABOUT, directory_name, spool_root
from sessionbat._delivery.trust import is_trusted_directory, open_trusted
from sessionbat.errors import ConfigurationError
from sessionbat.transports import CountingTransport, IngestionTransport, OTLPTransport

MAX_ABOUT_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Spooled:
    """One destination's spool, as it is now."""

    directory: Path
    endpoint: str
    #: Empty for a destination without a key.
    app: str
    events: int
    bytes: int
    #: Age of the oldest segment.
    oldest_s: float
    #: How it goes there: ``events``, or ``otlp`` as OpenTelemetry spans.
    wire: str = "events"


def list_spools() -> list[Spooled]:
    """Look at every spool of this user that holds something.

    Returns:
        One entry a destination; none where nothing waits.
    """
    root = spool_root(os.environ.get("SESSIONBAT_SPOOL_DIR", "").strip() or None)
    found = [_look(directory) for directory in sorted(root.glob("*/"))]
    return [spooled for spooled in found if spooled is not None and spooled.bytes]


def read_events(spooled: Spooled) -> Iterator[bytes]:
    """Read the events of a spool as lines of JSON, oldest first; damaged records are left out."""
    for path in _segments(spooled.directory):
        segment = Segment.read_only(path)
        if segment is None:
            continue
        try:
            for record in segment.records():
                done = segment.done(record)
                lines = segment.extent(record).lines()
                yield from (line for n, line in enumerate(lines) if line and n not in done)
        finally:
            segment.close()


def send(spooled: Spooled, timeout: float) -> Iterator[int]:
    """Deliver what waits and is held by no running process; yields how many events are through.

    Args:
        spooled: Which spool.
        timeout: Seconds without progress after which it gives up; the rest stays.

    Raises:
        ConfigurationError: The endpoint needs a key and ``SESSIONBAT_API_KEY`` is not set; of
            OTLP, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``_HEADERS``.
    """
    transport = _transport(spooled)
    before = sent = transport.stats().adopted
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and sent - before < spooled.events:
        transport.flush(0)
        now = transport.stats().adopted
        if now > sent:
            sent, deadline = now, time.monotonic() + timeout
            yield sent - before
        time.sleep(0.02)
    transport.close(timeout)


def _transport(spooled: Spooled) -> CountingTransport:
    app = spooled.app or None
    if spooled.wire != "otlp":
        return IngestionTransport(endpoint=spooled.endpoint, app=app)
    transport = OTLPTransport(spooled.endpoint, app=app)
    if app and not transport.has_headers:
        raise ConfigurationError(
            f"{spooled.endpoint} needs headers. Set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to this"
            " address, and OTEL_EXPORTER_OTLP_HEADERS.",
            slug="no-otlp-headers",
        )
    return transport


def _look(directory: Path) -> Spooled | None:
    try:
        if not is_trusted_directory(directory):
            return None
        with os.fdopen(open_trusted(directory / ABOUT, os.O_RDONLY), "rb") as file:
            about = json.loads(file.read(MAX_ABOUT_BYTES))
        endpoint, app = str(about["endpoint"]), str(about["app"])
        wire = str(about.get("wire", "events"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # not a spool of ours
    if directory.name != directory_name(endpoint, app, wire):
        return None  # and what is in it would be sent where nobody meant it to go
    events = size = 0
    oldest = time.time()
    for path in _segments(directory):
        segment = Segment.read_only(path)
        if segment is not None:
            size += segment.size
            oldest = min(oldest, segment.written_at())
            events += segment.waiting()
            segment.close()
    return Spooled(directory, endpoint, app, events, size, max(0.0, time.time() - oldest), wire)


def _segments(directory: Path) -> list[Path]:
    return sorted(p for p in directory.glob(f"*{SUFFIX}") if not p.name.startswith("."))
