"""One file of the spool: records of events, appended; owned by whoever holds its lock.

A record is a marker, four numbers (bytes, CRC-32, events, coding) and its events as NDJSON. One
that was torn or damaged is skipped and counted; the next one is found again by its marker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Whether segments can be locked here; without that there is no spool.
CAN_LOCK: Final = fcntl is not None

SUFFIX: Final = ".segment"
MARKER: Final = b"SBt1"

_HEADER: Final = struct.Struct("<4sIIIB")
_PLAIN, _DEFLATED = 0, 1
_WORTH_DEFLATING: Final = 512


class Record(NamedTuple):
    """Some events of a segment: where they are, how many, and as NDJSON; none when damaged."""

    offset: int
    length: int
    events: int
    body: bytes


class Extent(NamedTuple):
    """A record's place: what a batch remembers of its part on disk."""

    segment: Segment
    offset: int
    length: int

    def read(self) -> bytes:
        """Read its events again.

        Raises:
            OSError: The file is gone, or what is there is not what was written.
        """
        return self.segment.read(self.offset, self.length)


class Segment:
    """An open, locked segment. Not safe between threads: its spool has the lock for that."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        #: How many records are still needed; the file goes with the last.
        self.live = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: Path) -> Segment:
        """Make a new one: locked under a hidden name first, so that nobody can adopt it between."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}{SUFFIX}"
        hidden = directory / f".{name}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(directory / name)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(directory / name, descriptor, 0)

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """Take over a segment that nobody holds; None when somebody does, or it has just gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        if status.st_nlink == 0:  # its owner delivered and removed it while we opened it
            os.close(descriptor)
            return None
        return cls(path, descriptor, status.st_size)

    @classmethod
    def read_only(cls, path: Path) -> Segment | None:
        """Open a segment to look at it, whoever holds it; None when it has just gone."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        return cls(path, descriptor, os.fstat(descriptor).st_size)

    def append(self, body: bytes, count: int) -> Extent:
        """Write events; after this they survive the process.

        Raises:
            OSError: The disk took nothing or a part; what had been written is taken back.
        """
        record = _encode(body, count)
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
        return Extent(self, start, len(record))

    def read(self, offset: int, length: int) -> bytes:
        """Read the events of one record."""
        record = _decode(os.pread(self._descriptor, length, offset), 0)
        if record is None:
            raise OSError(f"{self.path.name}: the record at {offset} is damaged")
        return record.body

    def records(self) -> Iterator[Record]:
        """Read all records, oldest first; a damaged stretch is one record without events."""
        data = os.pread(self._descriptor, self.size, 0)
        offset = 0
        while offset < len(data):
            record = _decode(data, offset)
            if record is None:
                following = _next_record(data, offset + 1)
                yield Record(offset, following - offset, 0, b"")
                offset = following
            else:
                yield record
                offset += record.length

    def written_at(self) -> float:
        """When it was last written to, in seconds since the epoch."""
        return os.fstat(self._descriptor).st_mtime

    def is_gone(self) -> bool:
        """Whether somebody has deleted the file: what is written to it now would go with us."""
        return os.fstat(self._descriptor).st_nlink == 0

    def remove(self) -> bool:
        """Delete the file and let go of it; empty it and return false where that is forbidden."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            return False
        self.close()
        return True

    def close(self) -> None:
        """Let go of it: from now on another process may adopt it.

        Never unlocks: in a forked child that would take the parent's lock away.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _encode(body: bytes, count: int) -> bytes:
    coding = _PLAIN if len(body) < _WORTH_DEFLATING else _DEFLATED
    payload = zlib.compress(body, 1) if coding == _DEFLATED else body
    checksum = _checksum(payload, count, coding)
    return _HEADER.pack(MARKER, len(payload), checksum, count, coding) + payload


def _decode(data: bytes, offset: int) -> Record | None:
    if len(data) - offset < _HEADER.size:
        return None
    marker, length, checksum, count, coding = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    payload = data[start : start + length]
    if marker != MARKER or len(payload) < length:
        return None
    if checksum != _checksum(payload, count, coding):
        return None
    body = zlib.decompress(payload) if coding == _DEFLATED else payload
    return Record(offset, _HEADER.size + length, count, body)


def _checksum(payload: bytes, count: int, coding: int) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<IB", count, coding)))


def _next_record(data: bytes, start: int) -> int:
    while (found := data.find(MARKER, start)) >= 0:
        if _decode(data, found) is not None:
            return found
        start = found + 1
    return len(data)
