"""Connections to the file: one that writes, and a pool of readers that threads borrow.

A query has a deadline. SQLite interrupts itself; code that works between two rows has to call
``check_time``.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue
from typing import Final, NoReturn

from sessionbat.errors import StoreError
from sessionbat.server.store.sqlite.health import Health, identity_of
from sessionbat.server.store.sqlite.payloads import PayloadReader
from sessionbat.server.store.sqlite.private_file import make_private
from sessionbat.server.store.sqlite.schema import create_or_migrate

#: Seconds after which a question is given up, within a step of SQLite and between two.
QUERY_TIMEOUT: Final = 5.0
#: How long a write waits for another process's: a command's steps take some hundredth of a second,
#: but SQLite asks at intervals and may miss the moments between them.
BUSY_TIMEOUT_MS: Final = 30_000

# As many as there are answers made at once (read_api, pages), and some for the server's own
# threads: a question of one kind never waits for a reader that one of another holds for seconds.
_MAX_READERS: Final = 16


class Reader:
    """One read-only connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self.payloads = PayloadReader()
        self.deadline = math.inf
        self.timeout = math.inf
        # Called every so many steps of SQLite's machine, about each millisecond.
        self.connection.set_progress_handler(lambda: time.monotonic() > self.deadline, 20_000)

    def start_clock(self, timeout: float) -> None:
        """Start the deadline of the next query."""
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout

    def check_time(self) -> None:
        """Raise when the query's time is over; for work outside SQLite."""
        if time.monotonic() > self.deadline:
            raise self.too_slow()

    def too_slow(self) -> StoreError:
        """Make the error for a query whose time is over."""
        return StoreError(
            f"the query took longer than {self.timeout:g} s; ask for less",
            slug="query-too-slow",
        )


class Readers:
    """A pool of readers, opened on first use; one thread at a time borrows each."""

    def __init__(self, path: Path, timeout: float, health: Health) -> None:
        self._path = path
        self._timeout = timeout
        self._health = health
        self._closed = False
        self._free: LifoQueue[Reader | None] = LifoQueue()
        for _ in range(_MAX_READERS):
            self._free.put(None)  # a place for one that is not open yet

    @contextmanager
    def lend(self) -> Iterator[Reader]:
        """Lend a reader while the block runs; waits while all are in use."""
        reader = self._free.get()
        try:
            if self._closed:
                raise_closed()
            self._health.check_files()
            if reader is None:
                reader = Reader(self._path)
            reader.start_clock(self._timeout)
            yield reader
        except sqlite3.OperationalError as exc:
            if reader is not None and exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise reader.too_slow() from exc
            raise self._health.note_failure(exc) from exc
        except sqlite3.Error as exc:
            raise self._health.note_failure(exc) from exc
        finally:
            if reader is not None:
                reader.payloads.forget()  # else each of sixteen keeps a session's messages
            self._free.put(reader)

    def try_reading(self) -> None:
        """Read the file's header over a newly opened connection.

        Raises:
            StoreError: It cannot be read.
        """
        self._health.check_files()
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            pass  # too many files are open, or the file is locked: not for this to say
        except sqlite3.DatabaseError as exc:
            raise self._health.note_failure(exc) from exc
        finally:
            connection.close()

    def close(self) -> None:
        """Close all readers, each once its thread has returned it."""
        self._closed = True
        for reader in [self._free.get() for _ in range(_MAX_READERS)]:
            if reader is not None:
                reader.connection.close()
            self._free.put(None)


#: Something done with the connection that writes, before anybody else has it.
Preparation = Callable[[sqlite3.Connection], object]


def open_writer(path: Path, rebuild: Preparation, complete: Preparation) -> sqlite3.Connection:
    """Open the file for writing; create it, or migrate it to this version's schema.

    Args:
        path: The file.
        rebuild: Rebuilds rows after a migration, inside its transaction.
        complete: Creates everything else that the store needs, in transactions of its own.

    Raises:
        StoreError: The file cannot be used, or is no store.
    """
    try:
        make_private(path)
        before = identity_of(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        opened = before or identity_of(path)
    except sqlite3.Error as exc:
        raise _unusable(path, exc) from exc
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        # What is deleted is overwritten, also by the text index's merges. What it costs an append
        # could not be measured: docs/decisions/0043.
        connection.execute("PRAGMA secure_delete = ON")
        # Before WAL: so the file is recognisable as ours from its first page on.
        create_or_migrate(connection, path, rebuild)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        complete(connection)
        # A read-only file opens without complaint: find out now, not at the first event.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as exc:
        connection.close()
        if opened != identity_of(path):
            # Another was put in its place while this waited for its lock (sqlite.backup.restore):
            # SQLite refuses to write to a file that has been moved.
            return open_writer(path, rebuild, complete)
        raise _unusable(path, exc) from exc
    return connection


def _unusable(path: Path, exc: sqlite3.Error | OSError) -> StoreError:
    return StoreError(
        f"cannot use the store {str(path)!r}: {exc}; name a file in a directory that exists and"
        " may be written",
        slug="store-unusable",
    )


def raise_closed() -> NoReturn:
    """Raise the error for a call after ``close``."""
    raise StoreError("the store is closed", slug="store-closed")
