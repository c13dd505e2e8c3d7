"""Replaces a damaged file by a new one with everything that ``salvage`` can read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sessionbat.errors import StoreError
from sessionbat.server.reading.usage import Estimate
from sessionbat.server.store.sqlite import backup
from sessionbat.server.store.sqlite.backup import alone, put_in_place, unfinished
from sessionbat.server.store.sqlite.salvage import Salvaged, salvage
from sessionbat.server.store.sqlite.store import SqliteStore

Progress = Callable[[int, int], None]


def is_damage(exc: StoreError) -> bool:
    """Whether an error was caused by an unreadable page of the file."""
    cause = exc.__cause__
    return isinstance(cause, sqlite3.DatabaseError) and backup.is_damage(cause)


def rescue(
    path: Path, target: Path, on_progress: Progress, estimate: Estimate | None = None
) -> Salvaged:
    """Make a new store from everything readable; see ``opening.salvage``."""
    if target.exists():
        raise StoreError(f"{str(target)!r} already exists; name another file", slug="file-exists")
    with unfinished(target, ".salvaging") as part:
        found = _fill(path, part, on_progress, estimate)
        part.replace(target)
    return found


def renew(
    path: Path, now: datetime, on_progress: Progress, estimate: Estimate | None = None
) -> tuple[int, Path | None]:
    """Replace a store by a new file and keep the old one; see ``opening.rebuild``."""
    with unfinished(path, ".rebuilding") as part:
        found = _fill(path, part, on_progress, estimate)
        if found.unreadable or not found.has_all_keys:
            raise StoreError(
                f"{found.unreadable} events of {str(path)!r} cannot be read; make a new store of"
                " the others with sessionbat store salvage, or restore a backup",
                slug="damaged-store",
            )
        with alone(path):
            kept = put_in_place(part, path, now)
    return found.events, kept


def _fill(path: Path, part: Path, on_progress: Progress, estimate: Estimate | None) -> Salvaged:
    if not path.exists():
        raise StoreError(f"there is no file {str(path)!r}", slug="no-store")
    store = SqliteStore(str(part), estimate=estimate)
    try:
        with closing(sqlite3.connect(part)) as keys_into:
            return salvage(path, store.append, keys_into, on_progress)
    finally:
        store.close()
