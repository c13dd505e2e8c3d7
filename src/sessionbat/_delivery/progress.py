"""Which events of a segment are done with: a small file beside it, so that none is sent again.

Appended to by whoever holds the segment's lock, an entry of 16 bytes for a row of events. A torn,
damaged or foreign entry matches no record: its events are sent once more, and none is left out.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path
from typing import Final

from sessionbat._delivery.own_file import OwnFile
from sessionbat._delivery.trust import open_trusted

SUFFIX: Final = ".done"
#: A segment's longest record holds 64 MiB; more entries than this were never written.
MAX_BYTES: Final = 16 * 1024 * 1024

#: Where the record begins, its first event that is done, how many are, and a checksum.
_ENTRY: Final = struct.Struct("<IIII")
_FIELDS: Final = struct.Struct("<III")


class Progress:
    """The notes of one segment. Not safe between threads: its spool has the lock for that."""

    def __init__(self, segment: Path) -> None:
        self.path = segment.with_suffix(SUFFIX)
        self._file: OwnFile | None = None
        self._size = 0
        self._read: dict[int, list[tuple[int, int, int]]] | None = None

    def note(self, offset: int, checksum: int, first: int, count: int) -> None:
        """Note that events of a record are done with; a disk that says no costs a second sending.

        Args:
            offset: Where the record begins.
            checksum: The record's own: the note is for no other that may stand there one day.
            first: The first event, counted from the record's first.
            count: How many.
        """
        fields = _FIELDS.pack(offset, first, count)
        entry = fields + zlib.crc32(fields, checksum).to_bytes(4, "little")
        with contextlib.suppress(OSError):
            file = self._file or self._open()
            if os.pwrite(file.number, entry, self._size) == len(entry):
                self._size += len(entry)

    def done(self, offset: int, checksum: int, events: int) -> set[int]:
        """Find which events of a record are done with."""
        if self._read is None:
            self._read = self._load()
        done: set[int] = set()
        for first, count, check in self._read.get(offset, ()):
            if check == zlib.crc32(_FIELDS.pack(offset, first, count), checksum):
                done.update(range(first, min(first + count, events)))
        return done

    def forget(self) -> None:
        """Delete the notes: their segment is gone."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> OwnFile:
        descriptor = open_trusted(self.path, os.O_RDWR | os.O_CREAT)
        size = os.fstat(descriptor).st_size
        self._file, self._size = OwnFile(descriptor), size - size % _ENTRY.size
        return self._file

    def _load(self) -> dict[int, list[tuple[int, int, int]]]:
        found: dict[int, list[tuple[int, int, int]]] = {}
        try:
            descriptor = open_trusted(self.path, os.O_RDONLY)
        except OSError:
            return found
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_BYTES)
        whole = memoryview(data)[: len(data) - len(data) % _ENTRY.size]
        for offset, first, count, check in _ENTRY.iter_unpack(whole):
            found.setdefault(offset, []).append((first, count, check))
        return found
