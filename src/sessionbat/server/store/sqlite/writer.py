"""The one connection that writes: its transactions, its lock, and its write-ahead log.

Transactions run one at a time, in the order requested. Each first checks that the file is still
there and, if it makes the file grow, that the disk has room.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sessionbat.server.store.sqlite.connections import BUSY_TIMEOUT_MS, raise_closed
from sessionbat.server.store.sqlite.fair_lock import FairLock
from sessionbat.server.store.sqlite.health import Health

_PAGES_GIVEN_BACK: Final = 128  # 1 MB, some milliseconds
_LONGEST_PAUSE: Final = 0.25
_LOG_TRIES: Final = 20


class Writer:
    """Lends the connection that writes for one transaction or statement.

    Args:
        connection: Open, and used by nothing else; closed by ``close``.
        health: The health of the same file; updated by each transaction.
        forget: Clears the row cache; called with the lock held.
    """

    def __init__(
        self, connection: sqlite3.Connection, health: Health, forget: Callable[[], None]
    ) -> None:
        self.lock = FairLock()  # guards the connection, and what is remembered of its writing
        self.connection: sqlite3.Connection | None = connection
        self._health = health
        self._forget = forget
        self._data_version = 0
        self._enforces_foreign_keys = True  # as connections are opened

    @contextmanager
    def transaction(
        self,
        *,
        keeps_known: bool = False,
        foreign_keys: bool | None = True,
        is_durable: bool = True,
        grows: bool = False,
    ) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction; it commits unless the block raises.

        Args:
            keeps_known: Keep the row cache. Any other transaction, a failure or a foreign write
                clears it.
            foreign_keys: Whether SQLite enforces them; None: either. A change has it compile every
                statement anew, which costs milliseconds.
            is_durable: Whether to sync at commit. Derived data needs no sync, as it can be made
                again; a later durable commit makes it durable too.
            grows: Whether to refuse it while the disk is nearly full.
        """
        with self.lock:
            connection = self._open()
            self._health.check_files()
            if grows:
                self._check_room(connection, is_durable=is_durable)
            self._health.begin_writing()
            try:
                self._set_foreign_keys(connection, foreign_keys)
                if not is_durable:
                    connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                if self._others_have_written(connection) or not keeps_known:
                    self._forget()
                yield connection
                connection.execute("COMMIT")
                if is_durable:
                    self._health.check_files()  # else it is committed to nowhere
            except BaseException as exc:
                self._forget()
                if connection.in_transaction:
                    with suppress(sqlite3.Error):  # a disk that fails may fail this, too
                        connection.execute("ROLLBACK")
                if isinstance(exc, sqlite3.Error):
                    raise self._health.note_failure(exc) from exc
                raise
            finally:
                self._health.end_writing()
                if not is_durable:
                    connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def short_step(self) -> Iterator[None]:
        """Run a step, then sleep as long as it took, so that other writers get a turn."""
        started = time.monotonic()
        yield
        self.pause(time.monotonic() - started)

    def pause(self, seconds: float) -> None:
        """Sleep as long as a step took, at most a quarter of a second: other writers get a turn."""
        time.sleep(min(_LONGEST_PAUSE, seconds))

    def try_writing(self) -> None:
        """Test with a write that changes nothing whether the disk accepts writes."""
        with self.transaction() as connection:
            connection.execute("UPDATE progress SET up_to = up_to")
        self._health.note_written()

    def empty_log(self) -> bool:
        """Checkpoint the log and truncate it; False while somebody reads it."""
        for _ in range(_LOG_TRIES):
            with self.short_step(), self.lock:
                # Not longer: meanwhile nobody else can write.
                if self._checkpoint(self._open(), busy_timeout_ms=500):
                    return True
        return False

    def empty_log_if_needed(self) -> None:
        """Truncate the log if the disk is nearly full."""
        self._health.check_files()  # how long the log is now
        if self._health.is_tight(self._health.room()):
            with self.lock:
                if self.connection is not None:
                    self._empty_log_quickly(self.connection)

    def give_back_space(self, least_part: float = 0.02) -> bool:
        """Truncate some unused pages, which merging the text index leaves behind.

        Returns:
            True when at most ``least_part`` of the file is unused.
        """
        with self.lock, self._telling():
            connection = self.connection
            if connection is None:
                return True
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
            if unused <= pages * least_part:
                return True
            # A script, because `execute` stops after the first page.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")
            return False

    def set_overwriting(self, how: str) -> None:
        """Overwrite deleted data always (``ON``) or only if it costs no extra page (``FAST``)."""
        with self.lock:
            if self.connection is not None:
                self.connection.execute(f"PRAGMA secure_delete = {how}").fetchone()

    def close(self) -> None:
        """Close the connection after the current transaction."""
        with self.lock:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def _open(self) -> sqlite3.Connection:
        if self.connection is None:
            raise_closed()
        return self.connection

    def _set_foreign_keys(self, connection: sqlite3.Connection, wanted: bool | None) -> None:
        """Have them enforced or not; off for who deletes: each interaction would cost a scan."""
        if wanted is not None and wanted != self._enforces_foreign_keys:
            connection.execute(f"PRAGMA foreign_keys = {'ON' if wanted else 'OFF'}")
            self._enforces_foreign_keys = wanted

    def _check_room(self, connection: sqlite3.Connection, *, is_durable: bool) -> None:
        room = self._health.room()
        if self._health.is_tight(room):
            self._empty_log_quickly(connection)
            room = self._health.room()
        self._health.check_writable(room)
        if not is_durable:
            self._health.check_room_for_index(room)

    def _empty_log_quickly(self, connection: sqlite3.Connection) -> None:
        """Checkpoint and truncate the log, unless a reader or the disk prevents it.

        The caller holds the lock.
        """
        with suppress(sqlite3.Error):
            self._checkpoint(connection, busy_timeout_ms=100)

    def _checkpoint(self, connection: sqlite3.Connection, busy_timeout_ms: int) -> bool:
        """Empty the log completely; False when somebody reads it or writes to it."""
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        try:
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        return not is_busy

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise self._health.note_failure(exc) from exc

    def _others_have_written(self, connection: sqlite3.Connection) -> bool:
        before = self._data_version
        (self._data_version,) = connection.execute("PRAGMA data_version").fetchone()
        return self._data_version != before
