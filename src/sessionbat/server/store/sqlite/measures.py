"""Measures the file's size and how far derived data is behind, for ``/metrics``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sessionbat.server.records import AppMeasures, StoreMeasures
from sessionbat.server.store.sqlite.progress import behind
from sessionbat.server.store.sqlite.text_index import count_in_part

#: Of a session.
_EVENTS: Final = "observations + feedback"


def measure(connection: sqlite3.Connection, path: Path, derived: Sequence[str]) -> StoreMeasures:
    """Measure the store; counts sessions and not events, which are fifty times as many.

    Args:
        connection: A connection for reading.
        path: Its file.
        derived: The names of the derived data.
    """
    (events,) = connection.execute(f"SELECT coalesce(sum({_EVENTS}), 0) FROM sessions").fetchone()
    events_behind, since_us = behind(connection, derived)
    return StoreMeasures(
        events=events,
        events_behind=events_behind,
        seconds_behind=0.0 if since_us is None else max(0.0, time.time() - since_us / 1e6),
        events_in_part=count_in_part(connection),
        bytes=_size(path),
        log_bytes=_size(Path(f"{path}-wal")),
    )


def measure_apps(connection: sqlite3.Connection) -> list[AppMeasures]:
    """Measure each app that has sessions."""
    rows = connection.execute(
        f"SELECT name, sum({_EVENTS}), bytes FROM sessions JOIN apps ON apps.id = app"
        " GROUP BY app ORDER BY app"
    )
    return [AppMeasures(app=name, events=events, bytes=size) for name, events, size in rows]


def count_events(connection: sqlite3.Connection) -> int:
    """Count the events stored."""
    (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    return int(count)


def size_bytes(connection: sqlite3.Connection) -> int:
    """Return the file's size without unused pages."""
    pages, unused, page_bytes = (
        int(value)
        for name in ("page_count", "freelist_count", "page_size")
        for (value,) in connection.execute(f"PRAGMA {name}")
    )
    return (pages - unused) * page_bytes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
