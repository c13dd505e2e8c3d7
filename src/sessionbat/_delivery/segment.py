"""One file of the spool: records of events, appended; owned by whoever holds its lock."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sessionbat._delivery.own_file import OwnFile
from sessionbat._delivery.progress import Progress
from sessionbat._delivery.record import MAX_RECORD_BYTES, Record, decode, encode, records_in
from sessionbat._delivery.trust import UntrustedError, open_trusted

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Whether segments can be locked here; without that there is no spool.
CAN_LOCK: Final = fcntl is not None

SUFFIX: Final = ".segment"
#: What could not be read whole is kept under this name, for people to look at.
SET_ASIDE: Final = ".damaged"
#: A segment takes one more record while it is shorter than a few megabytes.
MAX_FILE_BYTES: Final = MAX_RECORD_BYTES + 8 * 1024 * 1024


class Extent(NamedTuple):
    """A record's place: what a batch remembers of its part on disk."""

    segment: Segment
    offset: int
    length: int
    events: int
    checksum: int

    def read(self) -> bytes:
        """Read its events again.

        Raises:
            OSError: The file is gone, or what is there is not what was written.
        """
        return self.segment.read(self.offset, self.length)

    def lines(self) -> list[bytes | None]:
        """Read its events as lines; None for each when they are not what they should be."""
        with contextlib.suppress(OSError):
            body = self.read().removesuffix(b"\n")
            if body.count(b"\n") + 1 == self.events:
                lines = body.split(b"\n")
                if not self.segment.adopted or _are_objects(lines):
                    return [*lines]
        self.segment.damaged.add(self.offset)
        return [None] * self.events


class Part(NamedTuple):
    """Some events of a record, counted from its first."""

    extent: Extent
    first: int
    events: int


class Segment:
    """An open, locked segment. Not safe between threads: its spool has the lock for that."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        #: How many records are still needed; the file goes with the last.
        self.live = 0
        #: Whether another process wrote it.
        self.adopted = False
        #: Where something could not be read. The file is then set aside at its end, not deleted.
        self.damaged: set[int] = set()
        self.progress = Progress(path)
        self._file = OwnFile(descriptor)

    @property
    def _descriptor(self) -> int:
        return self._file.number

    @classmethod
    def create(cls, directory: Path) -> Segment:
        """Make a new one: locked under a hidden name first, so that nobody can adopt it between."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}{SUFFIX}"
        hidden = directory / f".{name}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o600)  # whatever the umask: the next process has to open it
            hidden.rename(directory / name)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(directory / name, descriptor, 0)

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """Take over a segment that nobody holds; None when somebody does, or it has just gone.

        Raises:
            UntrustedError: It is no plain file of this user alone.
        """
        descriptor = _open(path, os.O_RDWR)
        if descriptor is None:
            return None
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        status = os.fstat(descriptor)
        if status.st_nlink == 0:  # its owner delivered and removed it while we opened it
            os.close(descriptor)
            return None
        segment = cls(path, descriptor, status.st_size)
        segment.adopted = True
        return segment

    @classmethod
    def read_only(cls, path: Path) -> Segment | None:
        """Open a segment to look at it, whoever holds it; None when there is none to be trusted."""
        try:
            descriptor = _open(path, os.O_RDONLY)
        except UntrustedError:
            return None
        if descriptor is None:
            return None
        segment = cls(path, descriptor, os.fstat(descriptor).st_size)
        segment.adopted = True
        return segment

    def append(self, body: bytes, count: int) -> Extent:
        """Write events; after this they survive the process.

        Raises:
            OSError: The disk took nothing or a part; what had been written is taken back.
        """
        record, checksum = encode(body, count)
        start = self.size
        try:
            written = os.pwrite(self._descriptor, record, start)
            if written < len(record):
                raise OSError(f"only {written} of {len(record)} bytes written")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, start)
            raise
        self.size += len(record)
        self.live += 1
        return Extent(self, start, len(record), count, checksum)

    def read(self, offset: int, length: int) -> bytes:
        """Read the events of one record."""
        record = decode(os.pread(self._descriptor, length, offset), 0)
        if record is None:
            raise OSError(f"{self.path.name}: the record at {offset} is damaged")
        return record.body

    def records(self) -> Iterator[Record]:
        """Read all records, oldest first; a damaged stretch is one record without events."""
        if self.size > MAX_FILE_BYTES:
            yield Record(0, self.size, 0)
            return
        yield from records_in(os.pread(self._descriptor, self.size, 0))

    def extent(self, record: Record) -> Extent:
        """Remember where a record is."""
        return Extent(self, record.offset, record.length, record.events, record.checksum)

    def done(self, record: Record) -> set[int]:
        """Say which events of a record no longer matter, counted from its first."""
        return self.progress.done(record.offset, record.checksum, record.events)

    def waiting(self) -> int:
        """Count the events that are still to be delivered."""
        return sum(record.events - len(self.done(record)) for record in self.records())

    def note_done(self, part: Part) -> None:
        """Note that events are delivered or given up: no later process sends them again."""
        extent = part.extent
        self.progress.note(extent.offset, extent.checksum, part.first, part.events)

    def written_at(self) -> float:
        """When it was last written to, in seconds since the epoch."""
        return os.fstat(self._descriptor).st_mtime

    def is_gone(self) -> bool:
        """Whether somebody has deleted or closed the file: nothing written now would stay."""
        try:
            return os.fstat(self._descriptor).st_nlink == 0
        except OSError:
            return True

    def remove(self) -> bool:
        """Delete the file and let go of it; empty it and return false where that is forbidden."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            return False
        # After the file itself: notes without a segment are litter, the reverse is sent again.
        self.progress.forget()
        self.close()
        return True

    def set_aside(self) -> bool:
        """Rename the file, so that nobody adopts it, and let go of it; false if forbidden."""
        try:
            self.path.rename(self.path.with_suffix(SET_ASIDE))
        except FileNotFoundError:
            pass
        except OSError:
            return False
        self.progress.forget()
        self.close()
        return True

    def close(self) -> None:
        """Let go of it: from now on another process may adopt it.

        Never unlocks: in a forked child that would take the parent's lock away.
        """
        self.progress.close()
        self._file.close()


def set_aside(path: Path) -> bool:
    """Rename what bears the name of a segment and is none; false while a process holds it."""
    if stat.S_ISREG(path.lstat().st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not _lock(descriptor):
                return False
            path.rename(path.with_suffix(SET_ASIDE))
        finally:
            os.close(descriptor)
    else:
        path.rename(path.with_suffix(SET_ASIDE))
    return True


def _open(path: Path, flags: int) -> int | None:
    try:
        return open_trusted(path, flags)
    except UntrustedError:
        raise
    except OSError:
        return None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _are_objects(lines: list[bytes]) -> bool:
    try:
        return all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False
