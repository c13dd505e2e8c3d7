"""Some events as they stand in a segment: a marker, four numbers, and the events as NDJSON.

The numbers are bytes, CRC-32, events and coding. What was torn or damaged is skipped; the next
record is found again by its marker. Nothing is believed: not a length, not a number of events, not
that what inflates ever ends.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MARKER: Final = b"SBt1"
#: As NDJSON; no queue takes an event that is longer.
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
#: A batch holds a hundredth of this.
MAX_RECORD_EVENTS: Final = 100_000

_HEADER: Final = struct.Struct("<4sIIIB")
_PLAIN, _DEFLATED = 0, 1
_WORTH_DEFLATING: Final = 512
#: The search for the next record checks this many times the bytes that there are, and no more.
_SEARCH_TIMES: Final = 8


class Record(NamedTuple):
    """Where a record is and how many events it holds; none when it is damaged."""

    offset: int
    length: int
    events: int
    checksum: int = 0
    coding: int = _PLAIN
    payload: bytes = b""

    @property
    def body(self) -> bytes:
        """The events as NDJSON.

        Raises:
            OSError: They do not inflate, or to more than was ever written.
        """
        return _inflate(self.payload) if self.coding == _DEFLATED else self.payload


def encode(body: bytes, count: int) -> tuple[bytes, int]:
    """Make a record of events; returns its bytes and its checksum."""
    coding = _PLAIN if len(body) < _WORTH_DEFLATING else _DEFLATED
    payload = zlib.compress(body, 1) if coding == _DEFLATED else body
    checksum = _checksum(payload, count, coding)
    return _HEADER.pack(MARKER, len(payload), checksum, count, coding) + payload, checksum


def decode(data: bytes, offset: int) -> Record | None:
    """Read the record that begins at a place; None when there is none or it is damaged."""
    header = _header(data, offset)
    if header is None:
        return None
    length, checksum, count, coding = header
    start = offset + _HEADER.size
    payload = data[start : start + length]
    if checksum != _checksum(payload, count, coding):
        return None
    return Record(offset, _HEADER.size + length, count, checksum, coding, payload)


def records_in(data: bytes) -> Iterator[Record]:
    """Read all records, in order; a damaged stretch is one record without events."""
    offset = 0
    while offset < len(data):
        record = decode(data, offset)
        if record is None:
            following = _next_record(data, offset + 1)
            yield Record(offset, following - offset, 0)
            offset = following
        else:
            yield record
            offset += record.length


def _header(data: bytes, offset: int) -> tuple[int, int, int, int] | None:
    if len(data) - offset < _HEADER.size:
        return None
    marker, length, checksum, count, coding = _HEADER.unpack_from(data, offset)
    if marker != MARKER or length > min(MAX_RECORD_BYTES, len(data) - offset - _HEADER.size):
        return None
    if not 0 < count <= MAX_RECORD_EVENTS or coding not in (_PLAIN, _DEFLATED):
        return None
    return length, checksum, count, coding


def _next_record(data: bytes, start: int) -> int:
    left = _SEARCH_TIMES * len(data)
    while (found := data.find(MARKER, start)) >= 0 and left > 0:
        if (header := _header(data, found)) is not None:
            if decode(data, found) is not None:
                return found
            left -= header[0]
        start = found + 1
    return len(data)


def _checksum(payload: bytes, count: int, coding: int) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<IB", count, coding)))


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(payload, MAX_RECORD_BYTES)
    except zlib.error as error:
        raise OSError(f"damaged: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise OSError("damaged: torn, or longer than any record")
    return body
