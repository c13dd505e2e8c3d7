"""Health of the store's file, from SQLite's errors and checks of the file and the disk.

SQLite keeps using a file that was deleted or moved, and its commits are then lost. So the files are
compared by device and inode: before each transaction, after each commit of received events, and by
a periodic check.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.server.records import WELL, StoreHealth, StoreState

#: New events are refused while less is free, so that what makes room has room to work: deleting
#: writes to the log first. Of a small disk, a quarter.
RESERVE_BYTES: Final = 32 * 1024 * 1024
_PART_RESERVED: Final = 4
#: Seconds after which a transaction that has not come to its end makes the store slow.
SLOW: Final = 10.0

# A store has a page at least.
_LEAST_BYTES: Final = 512

_Identity = tuple[int, int]


class Room(NamedTuple):
    """Free bytes on the disk, and the bytes reserved for freeing space."""

    free: int
    reserve: int


class Health:
    """The last known health of the store's file; thread-safe.

    Args:
        path: The file, open and in WAL mode.
        clock: Seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._files = _identities(self._path)
        self._log = Path(f"{self._path}-wal")
        self._log_bytes = 0  # when its file was last looked at
        self._lock = threading.Lock()  # guards these two
        self._now = WELL
        self._listeners: list[Callable[[StoreHealth], None]] = []
        self._writing_since: float | None = None

    @property
    def now(self) -> StoreHealth:
        """The health at the last check or use."""
        return self._now

    def tell(self, listener: Callable[[StoreHealth], None]) -> None:
        """Register a callback for changes; called in the thread that noticed."""
        with self._lock:
            self._listeners.append(listener)

    def look(self) -> bool:
        """Check files and disk; True when only a write can tell whether the store is well."""
        if self._is_gone():
            return False
        if _identity_and_size(self._path)[1] < _LEAST_BYTES:
            self._set("damaged", "it is empty")
        elif self._is_slow():
            self._set("slow")
        elif self.lacks_room():
            self._set("full")
        elif self._now.state == "slow" or (self._now.state == "gone"):
            self._set("well")
        return self._now.state in ("full", "read-only", "failing")

    def check_files(self) -> None:
        """Check that the open files still have their names; takes some microseconds.

        Raises:
            StoreError: They do not; writes to them would be lost.
        """
        if self._is_gone():
            raise self.error()

    def room(self) -> Room:
        """Measure free space; once a transaction, since each call releases Python's lock."""
        return _room(self._path)

    def lacks_room(self, beside: int = 0) -> bool:
        """Whether writing this many bytes would use the space reserved for freeing space."""
        return self._is_full(self.room(), beside)

    def is_tight(self, room: Room) -> bool:
        """Whether the log may be too long for the free space, since its pages go into the file."""
        return room.free < room.reserve + self._log_bytes

    def check_writable(self, room: Room) -> None:
        """Check that new events may be stored.

        Raises:
            StoreError: The file is damaged, or the disk is nearly full.
        """
        if self._is_full(room):
            self._set("full")
            raise self.error()
        if self._now.state == "damaged":
            raise self.error()

    def check_room_for_index(self, room: Room) -> None:
        """Check that derived data may grow; it has to stop before new events are refused.

        Raises:
            StoreError: Less than twice the reserve is free.
        """
        if room.free < 2 * room.reserve:
            raise StoreError(_message("full", self._path, ""), slug="store-full")

    def note_failure(self, exc: sqlite3.Error) -> StoreError:
        """Update the health from an SQLite error; returns the error to raise."""
        state = _state_of(exc, self._path)
        if state is None:
            return StoreError(f"the store failed: {exc}", slug="store-failed")
        if self._now.state not in ("gone", "damaged"):
            self._set(state, str(exc))
        return StoreError(_message(state, self._path, str(exc)), slug=f"store-{state}")

    def note_written(self) -> None:
        """Update the health after events were stored."""
        if self._now.state in ("full", "read-only", "failing"):
            self._set("well")

    def has_told(self, exc: Exception) -> bool:
        """Whether an error belongs to the current or next health state, and needs no log line."""
        is_of_state = isinstance(exc, StoreError) and exc.slug in (self._now.slug, "store-full")
        return is_of_state or self._now.state == "gone"

    def begin_writing(self) -> None:
        """Note that a transaction begins; there is only one at a time."""
        self._writing_since = self._clock()

    def end_writing(self) -> None:
        """Note that the transaction has ended, committed or not."""
        self._writing_since = None

    def error(self) -> StoreError:
        """Make the error for this state."""
        return StoreError(self._now.message, slug=self._now.slug)

    def _is_gone(self) -> bool:
        for path, identity in self._files.items():
            found, size = _identity_and_size(path)
            if path == self._log:
                self._log_bytes = size
            if found != identity:
                self._set("gone", "" if found is None else "replaced", path)
                return True
        if self._now.state == "gone":
            self._set("well")
        return False

    def _is_full(self, room: Room, beside: int = 0) -> bool:
        least = _enough(room.reserve) if self._now.state == "full" else room.reserve
        return room.free - beside < least

    def _is_slow(self) -> bool:
        since = self._writing_since
        return since is not None and self._clock() - since > SLOW

    def _set(self, state: StoreState, detail: str = "", path: Path | None = None) -> None:
        with self._lock:
            if state == self._now.state:
                return
            self._now = (
                WELL
                if state == "well"
                else StoreHealth(state, _message(state, path or self._path, detail))
            )
            for listener in self._listeners:
                listener(self._now)


def identity_of(path: Path) -> _Identity | None:
    """Return a file's identity, independent of its name; None when it is not found."""
    return _identity_and_size(path)[0]


def _identity_and_size(path: Path) -> tuple[_Identity | None, int]:
    try:
        status = path.stat()
    except OSError:
        return None, 0
    return (status.st_dev, status.st_ino), status.st_size


def _enough(reserve: int) -> int:
    """Return the free space at which a full disk is well again; higher, to avoid flapping."""
    return reserve * 5 // 4


def _identities(path: Path) -> dict[Path, _Identity]:
    paths = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    return {each: found for each in paths if (found := identity_of(each)) is not None}


def _room(path: Path) -> Room:
    """Measure the disk; zero free and zero reserved when it cannot be measured."""
    with suppress(OSError, AttributeError):
        disk = os.statvfs(path.parent)
        total = disk.f_blocks * disk.f_frsize
        return Room(disk.f_bavail * disk.f_frsize, min(RESERVE_BYTES, total // _PART_RESERVED))
    return Room(0, 0)


_STATES: Final[dict[int, StoreState]] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_IOERR: "failing",
    sqlite3.SQLITE_CANTOPEN: "failing",
    sqlite3.SQLITE_PERM: "failing",
    sqlite3.SQLITE_AUTH: "failing",
}
# Damage to an index in the file, which can be rebuilt.
_DERIVED: Final = (sqlite3.SQLITE_CORRUPT_VTAB, sqlite3.SQLITE_CORRUPT_INDEX)


def _state_of(exc: sqlite3.Error, path: Path) -> StoreState | None:
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None or code in _DERIVED:
        return None
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return "gone"
    state = _STATES.get(code & 0xFF)
    return _of_the_disk(path) if state == "failing" else state


def _of_the_disk(path: Path) -> StoreState:
    """Tell a read-only or full disk from a failing one; SQLite has no error code for them here."""
    with suppress(OSError, AttributeError):
        disk = os.statvfs(path.parent)
        if disk.f_flag & os.ST_RDONLY:
            return "read-only"
        if not disk.f_bavail:
            return "full"
    return "failing"


def _message(state: StoreState, path: Path, detail: str) -> str:
    if state == "gone":
        if detail:
            return (
                f"{str(path)!r} was replaced by another file while it is open; put the original"
                " back, or restart the server to use the new one"
            )
        return (
            f"{str(path)!r} was moved or deleted while it is open; move it back, or if it was"
            " deleted, restart the server"
        )
    if state == "full":
        reserve = _room(path).reserve
        return (
            f"the disk of {str(path)!r} is nearly full; new events are refused until"
            f" {_enough(reserve) / 1e6:.1f} MB are free: delete sessions, or free disk space"
        )
    advice = {
        "damaged": "stop the server and run sessionbat store check; restore a backup or salvage",
        "read-only": "make it writable again",
        "failing": "check the disk and its mount",
        "slow": "check which other process writes to the disk or locks the file",
    }[state]
    told = f"a transaction takes longer than {SLOW:g} s" if state == "slow" else detail
    return f"the store {str(path)!r} is {state}: {told}; {advice}"
