"""Reads the protobuf form of spans and log records: only the fields that are used, nothing else.

Strict where it matters: no length reaches beyond what holds it, no number is longer than its type.
Unknown fields are passed over, as protobuf asks. Why no library reads it: ``docs/decisions``, 0044.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from sessionbat.server.ingest.otlp.limits import Counted, Unreadable, check_level

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# The first bytes of an attribute's key and value, and of a value that is a text or a number.
_KEY, _VALUE, _TEXT, _INT = 0x0A, 0x12, 0x0A, 0x18
_FITS_NOWHERE: Final = 1 << 62
# Keys as they were read, for instrumentation writes the same time and again.
_MAX_KEYS: Final = 4096
_keys: Final[dict[bytes, str]] = {}
_double: Final = struct.Struct("<d").unpack_from
_fixed64: Final = struct.Struct("<Q").unpack_from

#: A message within the body: where it begins and ends.
Place = tuple[int, int]


class Message:
    """One message of a body, whose fields are read on demand.

    Args:
        data: The body.
        place: Where the message lies in it; None: all of it.
    """

    __slots__ = ("_data", "_end", "_start")

    def __init__(self, data: bytes, place: Place | None = None) -> None:
        self._data = data
        self._start, self._end = place or (0, len(data))

    def fields(self) -> Iterator[tuple[int, Any]]:
        """Give each field's number and value: a number, or the place of a message or text.

        Raises:
            Unreadable: The message is broken.
        """
        data, at, end = self._data, self._start, self._end
        while at < end:
            key = data[at]
            at += 1
            if key & 0x80:
                key, at = _varint(data, at - 1, end)
            kind = key & 7
            if kind == _BYTES:
                if at == end:
                    _broken()
                length = data[at]
                at += 1
                if length & 0x80:
                    length, at = _varint(data, at - 1, end)
                if length > end - at:
                    _broken()
                yield key >> 3, (at, at + length)
                at += length
            elif kind == _VARINT:
                value, at = _varint(data, at, end)
                yield key >> 3, value
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
                if length > end - at:
                    _broken()
                yield key >> 3, (at, at + length)
                at += length
            else:
                _broken()

    def inner(self, place: Any) -> Message:
        """Give a message that lies in this one."""
        return Message(self._data, _place(place))

    def bytes(self, place: Any) -> bytes:
        """Read bytes."""
        start, end = _place(place)
        return self._data[start:end]

    def text(self, place: Any) -> str:
        """Read a text; what is no UTF-8 in it becomes U+FFFD."""
        start, end = _place(place)
        return str(self._data[start:end], "utf-8", "replace")

    def fixed64(self, place: Any) -> int:
        """Read a number of eight bytes."""
        start, end = _place(place)
        if end - start != 8:
            _broken()
        number: int = _fixed64(self._data, start)[0]
        return number

    def _attribute(self, counted: Counted, level: int) -> tuple[str, Any]:
        key, value = "", None
        for number, found in self.fields():
            if number == 1:
                key = self.text(found)
            elif number == 2:
                value = self.inner(found).value(counted, level)
        if value is None:
            counted.take()  # an attribute without a value counts, too
        return key, value

    def value(self, counted: Counted, level: int = 0) -> Any:
        """Read a value of any type; of several, the last counts."""
        counted.take()
        check_level(level)
        value: Any = None
        for number, found in self.fields():
            if number == 1:
                value = self.text(found)
            elif number == 2:
                value = found != 0
            elif number == 3:
                value = _signed(found)
            elif number == 4:
                value = self._double(found)
            elif number == 5:
                value = self.inner(found).values(counted, level + 1)
            elif number == 6:
                value = self.inner(found).attributes(1, counted, level + 1)
            elif number == 7:
                value = self.bytes(found)
        return value

    def values(self, counted: Counted, level: int) -> list[Any]:
        """Read a list of values."""
        return [
            self.inner(found).value(counted, level)
            for number, found in self.fields()
            if number == 1
        ]

    def attributes(self, field: int, counted: Counted, level: int = 0) -> dict[str, Any]:
        """Read the attributes in a field of this message; of those with one key, the last."""
        attributes: dict[str, Any] = {}
        for number, found in self.fields():
            if number == field:
                key, value = self.inner(found)._attribute(counted, level)
                attributes[key] = value
        return attributes

    def others(
        self, field: int, attributes: dict[str, Any], counted: Counted
    ) -> list[tuple[int, Any]]:
        """Read the attributes in a field into a dictionary; give the other fields.

        Written out, without a call for each field: most of a span are attributes.

        Args:
            field: Its number, below 16.
            attributes: Of several with one key, the last stays.
            counted: Told of each value.
        """
        data, at, end, wanted = self._data, self._start, self._end, field << 3 | _BYTES
        others: list[tuple[int, Any]] = []
        while at < end:
            tag = data[at]
            if tag != wanted:
                kind, start = tag & 7, at + 2
                if kind == _BYTES and tag < 0x80 and start <= end and data[start - 1] < 0x80:
                    at = start + data[start - 1]
                    if at > end:
                        _broken()
                    others.append((tag >> 3, (start, at)))
                else:
                    at = self._other(at, others)
                continue
            at += 1
            if at == end:
                _broken()
            length = data[at]
            at += 1
            if length & 0x80:
                length, at = _varint(data, at - 1, end)
            if length > end - at:
                _broken()
            stop = at + length
            # As every exporter writes it: the key, and a text or a small number. Less than half of
            # the time; what is not exactly that is read field by field.
            try:
                start = at + 2
                value_at = start + data[at + 1]
                if data[at] == _KEY and data[at + 1] < 0x80 and data[value_at] == _VALUE:
                    size, inner = data[value_at + 1], value_at + 2
                    if size & 0x80:
                        size, inner = _two_bytes(size, data[inner]), inner + 1
                    if inner + size == stop and counted.left > 0:
                        kind, size, text = data[inner], data[inner + 1], inner + 2
                        if kind == _TEXT:
                            if size & 0x80:
                                size, text = _two_bytes(size, data[text]), text + 1
                            if text + size == stop:
                                counted.left -= 1
                                key = _keys.get(data[start:value_at]) or _key(data[start:value_at])
                                attributes[key] = str(data[text:stop], "utf-8", "replace")
                                at = stop
                                continue
                        elif kind == _INT and size & 0x80:
                            size, text = _two_bytes(size, data[text]), text + 1
                        if kind == _INT and text == stop and size < _FITS_NOWHERE:
                            counted.left -= 1
                            key = _keys.get(data[start:value_at]) or _key(data[start:value_at])
                            attributes[key] = size
                            at = stop
                            continue
            except IndexError:
                pass
            key, value = Message(data, (at, stop))._attribute(counted, 0)
            attributes[key] = value
            at = stop
        return others

    def _other(self, at: int, others: list[tuple[int, Any]]) -> int:
        """Read one field of any kind into a list; give where it ends."""
        data, end = self._data, self._end
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            others.append((key >> 3, value))
            return at
        if kind == _BYTES:
            length, at = _varint(data, at, end)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            _broken()
        if length > end - at:
            _broken()
        others.append((key >> 3, (at, at + length)))
        return at + length

    def _double(self, place: Any) -> float:
        start, end = _place(place)
        if end - start != 8:
            _broken()
        number: float = _double(self._data, start)[0]
        return number


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a number of up to ten bytes; give it and where it ends."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise _cut()


def _two_bytes(low: int, high: int) -> int:
    """Give a length of two bytes; for one that has more, a length that fits nowhere."""
    return (low & 0x7F) | high << 7 if high < 0x80 else _FITS_NOWHERE


def _key(data: bytes) -> str:
    key = str(data, "utf-8", "replace")
    if len(_keys) < _MAX_KEYS:
        _keys[data] = key
    return key


def _signed(number: Any) -> int:
    if type(number) is not int:
        _broken()
    signed: int = number - (1 << 64) if number >> 63 else number
    return signed


def _place(found: Any) -> Place:
    if type(found) is not tuple:
        _broken()
    place: Place = found
    return place


def _broken() -> NoReturn:
    raise _cut()


def _cut() -> Unreadable:
    return Unreadable("not-protobuf", "not the protobuf of OTLP, or cut short")
