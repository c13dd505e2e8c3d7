"""Every metric of the server by name; the parts that do the work fill them.

``app`` makes one of these and hands it to ingestion; ``/metrics`` reads it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sessionbat._version import __version__
from sessionbat.errors import StoreError
from sessionbat.server.ops.prometheus import (
    SECONDS,
    SIZES,
    Counter,
    Gauge,
    Histogram,
    Metric,
    States,
)
from sessionbat.server.ops.store_watch import STATES
from sessionbat.server.records import StoreMeasures
from sessionbat.server.store.protocol import Store

#: The start of the process, approximately: the server is imported when it starts.
_STARTED_AT: Final = time.time()


class Measures:
    """The server's metrics; any thread may count."""

    def __init__(self) -> None:
        self.events_accepted = Counter(
            "sessionbat_events_accepted_total", "Events stored, each once."
        )
        self.events_duplicate = Counter(
            "sessionbat_events_duplicate_total", "Events received that were stored already."
        )
        self.events_rejected = Counter(
            "sessionbat_events_rejected_total",
            "Events that were not stored while others of their body may have been, by slug.",
            ["slug"],
        )
        self.events_untimed = Counter(
            "sessionbat_events_untimed_total",
            "Events received whose created_at cannot be read.",
        )
        self.bodies_refused = Counter(
            "sessionbat_bodies_refused_total",
            "Ingestion requests that were refused whole, by slug.",
            ["slug"],
        )
        self.requests = Counter(
            "sessionbat_http_requests_total",
            "Requests answered, by route and class of status.",
            ["route", "status"],
        )
        self.ingest_seconds = Histogram(
            "sessionbat_ingest_seconds",
            "From the head of an ingestion request to its answer.",
            SECONDS,
        )
        self.commit_seconds = Histogram(
            "sessionbat_commit_seconds",
            "One transaction of received events, sync included.",
            SECONDS,
        )
        self.commit_requests = Histogram(
            "sessionbat_commit_requests", "Requests that shared one commit.", SIZES
        )
        self.commit_events = Histogram("sessionbat_commit_events", "Events of one commit.", SIZES)
        self.connections_refused = Counter(
            "sessionbat_connections_refused_total",
            "Connections that were ended by the server, by slug.",
            ["slug"],
        )
        self._waiting: list[Metric] = []

    def watch_waiting(self, requests: Callable[[], int], size: Callable[[], int]) -> None:
        """Register the functions that count waiting requests and the bytes of their bodies."""
        self._waiting = [
            Gauge(
                "sessionbat_waiting_requests",
                "Ingestion requests being read or waiting for their commit.",
                requests,
            ),
            Gauge(
                "sessionbat_waiting_bytes",
                "Bytes of their bodies, as they came over the wire.",
                size,
            ),
        ]

    def note_commit(self, seconds: float, requests: int, events: int) -> None:
        """Count one commit; called by the thread that stores."""
        self.commit_seconds.observe(seconds)
        self.commit_requests.observe(requests)
        self.commit_events.observe(events)

    def metrics(self, store: Store) -> list[Metric]:
        """List every metric; asks the store, so it may wait for the disk."""
        return [
            Gauge(
                "sessionbat_build_info",
                "The version that runs; always 1.",
                lambda: 1,
                labels=[("version", __version__)],
            ),
            self.events_accepted,
            self.events_duplicate,
            self.events_rejected,
            self.events_untimed,
            self.bodies_refused,
            self.requests,
            self.ingest_seconds,
            self.commit_seconds,
            self.commit_requests,
            self.commit_events,
            *self._waiting,
            self.connections_refused,
            *_store_metrics(store),
            *_process_metrics(),
        ]


def _store_metrics(store: Store) -> list[Metric]:
    measures = _measure(store)
    health = store.health()
    state: list[Metric] = [
        Gauge(
            "sessionbat_store_up",
            "1 when the store takes events and answers; else 0, and its figures may be missing.",
            lambda: measures is not None and health.is_well,
        ),
        States(
            "sessionbat_store_state",
            "1 for the state that the store is in.",
            STATES,
            lambda: health.state,
        ),
    ]
    if measures is None:
        return state
    return [
        *state,
        Gauge("sessionbat_store_events", "Events stored.", lambda: measures.events),
        Gauge(
            "sessionbat_follower_lag_events",
            "Events stored that search and statistics do not know yet.",
            lambda: measures.events_behind,
        ),
        Gauge(
            "sessionbat_follower_lag_seconds",
            "How long the oldest of them has been stored.",
            lambda: measures.seconds_behind,
        ),
        Gauge(
            "sessionbat_search_events_in_part",
            "Events of which only the beginning is searched; at most 1,000 are counted.",
            lambda: measures.events_in_part,
        ),
        Gauge("sessionbat_store_file_bytes", "Size of the store's file.", lambda: measures.bytes),
        Gauge(
            "sessionbat_store_log_bytes",
            "Size of its write-ahead log.",
            lambda: measures.log_bytes,
        ),
    ]


def _measure(store: Store) -> StoreMeasures | None:
    try:
        return store.measure()
    except StoreError:
        return None


def _process_metrics() -> list[Metric]:
    return [
        Gauge(
            "process_cpu_seconds_total",
            "Processor time, user and system.",
            time.process_time,
            type="counter",
        ),
        Gauge("process_resident_memory_bytes", "Resident memory.", _resident_bytes),
        Gauge("process_open_fds", "Open file descriptors.", _open_files),
        Gauge(
            "process_start_time_seconds",
            "When the process started, seconds since 1970.",
            lambda: _STARTED_AT,
        ),
    ]


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - iterdir stats nothing more
    except OSError:
        return None
