"""Stores keys in the file, and looks them up over a connection of their own."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.server.reading.figures import microseconds, rfc3339
from sessionbat.server.records import KeyKind, StoredKey
from sessionbat.server.store.sqlite.many_rows import columns, places_of

# Seconds. Readers of a WAL wait for nobody but a process that recovers the file; the event loop
# waits with them, so not for long.
_BUSY_TIMEOUT: Final = 0.1
_SECRET_BYTES: Final = 32


class _Row(NamedTuple):
    id: str
    kind: KeyKind
    app: str | None
    name: str
    digest: bytes
    created_at_us: int
    revoked_at_us: int | None
    origins: str


_COLUMNS: Final = columns(_Row)


def add(connection: sqlite3.Connection, key: StoredKey) -> None:
    """Insert a key, inside the caller's transaction."""
    created_at_us = microseconds(datetime.fromisoformat(key.created_at))
    row = _Row(
        key.id, key.kind, key.app, key.name, key.digest, created_at_us, None, " ".join(key.origins)
    )
    connection.execute(f"INSERT INTO keys ({_COLUMNS}) VALUES {places_of(_Row)}", row)


def list_all(connection: sqlite3.Connection) -> list[StoredKey]:
    """List every key, the oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created_at_us, id")
    return [_key(row) for row in map(_Row._make, rows)]


def revoke(connection: sqlite3.Connection, key_id: str, at_us: int) -> bool:
    """Mark a key as revoked, inside the caller's transaction; False when it does not exist."""
    changed = connection.execute(
        "UPDATE keys SET revoked_at_us = coalesce(revoked_at_us, ?) WHERE id = ?", (at_us, key_id)
    )
    return changed.rowcount > 0


def secret(connection: sqlite3.Connection, name: str) -> bytes:
    """Return a secret, created if it is missing, inside the caller's transaction."""
    connection.execute(
        "INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, secrets.token_bytes(_SECRET_BYTES))
    )
    (value,) = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return bytes(value)


class KeyReader:
    """A read-only connection for keys, so that looking up a key never waits for a slow query.

    Args:
        path: The file.
        note_failure: Updates the health from an SQLite error; returns the error to raise.

    Raises:
        StoreError: From any method, when the file cannot be read or after ``close``.
    """

    def __init__(self, path: Path, note_failure: Callable[[sqlite3.Error], StoreError]) -> None:
        self._note_failure = note_failure
        self._lock = threading.Lock()  # guards the connection
        self._connection: sqlite3.Connection | None = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )

    def find(self, key_id: str) -> StoredKey | None:
        """Find a key by its id, in the file's current state."""
        row = self._first(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", (key_id,))
        return None if row is None else _key(_Row._make(row))

    def has_any(self) -> bool:
        """Whether the file has a key, revoked or not."""
        return self._first("SELECT 1 FROM keys LIMIT 1") is not None

    def allows_origin(self, origin: str) -> bool:
        """Whether a key that may be used names this origin."""
        query = (
            "SELECT 1 FROM keys WHERE kind = 'feedback' AND revoked_at_us IS NULL"
            " AND instr(' ' || origins || ' ', ' ' || ? || ' ') LIMIT 1"
        )
        return " " not in origin and self._first(query, (origin,)) is not None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _first(self, query: str, values: Sequence[Any] = ()) -> Any:
        with self._lock:
            if self._connection is None:
                raise StoreError("the store is closed", slug="store-closed")
            try:
                # All rows, so that no statement stays open and holds an old state of the file.
                rows = self._connection.execute(query, values).fetchall()
            except sqlite3.Error as exc:
                raise self._note_failure(exc) from exc
        return rows[0] if rows else None


def _key(row: _Row) -> StoredKey:
    revoked_at = None if row.revoked_at_us is None else rfc3339(row.revoked_at_us)
    created_at = rfc3339(row.created_at_us)
    origins = tuple(row.origins.split())
    return StoredKey(
        row.id, row.kind, row.app, row.name, row.digest, created_at, revoked_at, origins
    )
