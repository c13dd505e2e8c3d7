"""Is the store's file still there, whole and writable: what SQLite's errors and a look at it say.

SQLite goes on with a file that was deleted or moved, and what it commits then is lost. So the files
are compared by device and inode: before each transaction, after the commit of what was received,
and by whoever looks in between.
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
    """What is free on the disk, and what of it is reserved for making room; in bytes."""

    free: int
    reserve: int


class Health:
    """How the store's file is, as last seen. Any thread may ask and tell.

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
        """How it was when it was last looked at or used."""
        return self._now

    def tell(self, listener: Callable[[StoreHealth], None]) -> None:
        """Call back at each change from now on, in the thread that noticed."""
        with self._lock:
            self._listeners.append(listener)

    def look(self) -> bool:
        """Look at the files and the disk; True when only a write can tell whether it is well."""
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
        """Look whether the files that are open still bear their names; some microseconds.

        Raises:
            StoreError: They do not; what is written to them is lost.
        """
        if self._is_gone():
            raise self.error()

    def room(self) -> Room:
        """Look how much is free. Once for each transaction: each look gives up Python's lock."""
        return _room(self._path)

    def lacks_room(self, beside: int = 0) -> bool:
        """Whether less is free than is reserved for making room, beside so many bytes."""
        return self._is_full(self.room(), beside)

    def is_tight(self, room: Room) -> bool:
        """Whether the log may be too long for the room there is: its pages go into the file."""
        return room.free < room.reserve + self._log_bytes

    def check_writable(self, room: Room) -> None:
        """See whether new events may be stored.

        Raises:
            StoreError: The file is damaged, or the disk is as good as full.
        """
        if self._is_full(room):
            self._set("full")
            raise self.error()
        if self._now.state == "damaged":
            raise self.error()

    def check_room_for_index(self, room: Room) -> None:
        """See whether what is derived may grow: it waits before new events have to.

        Raises:
            StoreError: There is less room than twice the reserve, so that the reserve stays.
        """
        if room.free < 2 * room.reserve:
            raise StoreError(_message("full", self._path, ""), slug="store-full")

    def note_failure(self, exc: sqlite3.Error) -> StoreError:
        """Take an error of SQLite into account; give what to raise."""
        state = _state_of(exc, self._path)
        if state is None:
            return StoreError(f"the store failed: {exc}", slug="store-failed")
        if self._now.state not in ("gone", "damaged"):
            self._set(state, str(exc))
        return StoreError(_message(state, self._path, str(exc)), slug=f"store-{state}")

    def note_written(self) -> None:
        """Take into account that events have been stored."""
        if self._now.state in ("full", "read-only", "failing"):
            self._set("well")

    def has_told(self, exc: Exception) -> bool:
        """Whether an error is of this state, or of one that comes, and needs no telling."""
        is_of_state = isinstance(exc, StoreError) and exc.slug in (self._now.slug, "store-full")
        return is_of_state or self._now.state == "gone"

    def begin_writing(self) -> None:
        """A transaction begins. There is one at a time."""
        self._writing_since = self._clock()

    def end_writing(self) -> None:
        """The transaction has ended, well or not."""
        self._writing_since = None

    def error(self) -> StoreError:
        """Give what to raise in this state."""
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
    """Tell a file from any other, whatever they are called; None when it cannot be found."""
    return _identity_and_size(path)[0]


def _identity_and_size(path: Path) -> tuple[_Identity | None, int]:
    try:
        status = path.stat()
    except OSError:
        return None, 0
    return (status.st_dev, status.st_ino), status.st_size


def _enough(reserve: int) -> int:
    """Give how much has to be free before a full disk is none: more, or it would go to and fro."""
    return reserve * 5 // 4


def _identities(path: Path) -> dict[Path, _Identity]:
    paths = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    return {each: found for each in paths if (found := identity_of(each)) is not None}


def _room(path: Path) -> Room:
    """Look at the disk; nothing is free and nothing reserved where nobody can tell."""
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
# Not of the file, but of an index in it that can be made anew.
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
    """Why the disk fails, as far as it says: SQLite has no word for some of it."""
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
                f"another file is in the place of {str(path)!r}, which is open; put the right one"
                " back, or restart the server to use what is there now"
            )
        return (
            f"{str(path)!r} was moved or deleted while it is open; move it back, or if it is"
            " deleted, restart the server"
        )
    if state == "full":
        reserve = _room(path).reserve
        return (
            f"the disk of {str(path)!r} is as good as full; new events are refused until"
            f" {_enough(reserve) / 1e6:.1f} MB are free: delete sessions, or make room"
        )
    advice = {
        "damaged": "stop the server and ask sessionbat store check; restore a backup or salvage",
        "read-only": "make it writable again",
        "failing": "see the disk and its mount",
        "slow": "see what else writes to the disk or holds the file",
    }[state]
    told = f"a transaction takes longer than {SLOW:g} s" if state == "slow" else detail
    return f"the store {str(path)!r} is {state}: {told}; {advice}"
