"""A stream as records, each with the line that it begins at: JSON lines, arrays, pretty-printed.

Boundaries are found by brackets and quotation marks, without decoding, so that a record which is
broken inside costs no other. Holds one record at a time, of bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, Protocol

from sessionbat._importing.bad import BadLine
from sessionbat._importing.json_values import loads

#: The most that one line or record may hold, which is also the most that a server takes in a body.
MAX_LINE_BYTES: Final = 32 * 1024 * 1024

_CHUNK: Final = 1024 * 1024
_OUTSIDE: Final = re.compile(rb'["{}\[\]]')
_INSIDE: Final = re.compile(rb'["\\\n]')


class Line(NamedTuple):
    """One line of a file, its number counted from 1."""

    number: int
    #: Without white space at its ends; None when the line is too long to be read.
    data: bytes | None
    #: Its length in the file.
    size: int


class Record(NamedTuple):
    """One JSON value of a file, and the number of the line that it begins at."""

    number: int
    #: None when it is too long to be read.
    data: bytes | None
    #: Why there is no record here: something stands between two.
    problem: str = ""
    #: Which top-level array of the file it is an element of, from 1; 0 for none.
    array: int = 0


class _Lines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


def read_lines(stream: _Lines, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Read a stream line by line, holding about ``max_bytes`` of it at most."""
    number = 0
    while data := stream.readline(max_bytes + 1):
        number += 1
        size = len(data)
        if size > max_bytes and not data.endswith(b"\n"):
            yield Line(number, None, size + _skip_line(stream))
        else:
            byte_order_mark = b"\xef\xbb\xbf" if number == 1 else b""
            yield Line(number, data.removeprefix(byte_order_mark).strip(), size)


def read_records(stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Record]:
    """Read a stream record by record, however they are laid out."""
    head = _head(stream)
    if _are_lines(head):
        lines = read_lines(_Rejoined(head, stream), max_bytes)
        yield from (Record(line.number, line.data) for line in lines if line.data != b"")
    else:
        yield from _Splitter(max_bytes).split(_chunks(head, stream))


def _skip_line(stream: _Lines) -> int:
    skipped = 0
    while chunk := stream.readline(1024 * 1024):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return skipped


def _head(stream: BinaryIO) -> list[bytes]:
    """Read lines until two hold anything, at most a megabyte of each."""
    head: list[bytes] = []
    while sum(bool(line.strip()) for line in head) < 2:
        line = stream.readline(_CHUNK)
        if not line:
            break
        head.append(line.removeprefix(b"\xef\xbb\xbf") if not head else line)
        if not line.endswith(b"\n"):
            break
    return head


def _are_lines(head: list[bytes]) -> bool:
    """Whether each line is a record, as far as the first two tell."""
    first, *others = [line.strip() for line in head if line.strip()] or [b""]
    if first[:1] == b"[":
        return False  # an array: its elements are told apart, also on a single line
    if first[:1] != b"{":
        return True
    if not others or _is_json(first):
        return True
    # A pretty-printed object goes on with a key; behind a broken line the next object begins.
    return others[0][:1] not in (b'"', b"}", b"]", b"[")


def _is_json(line: bytes) -> bool:
    try:
        loads(line.decode())
    except (ValueError, RecursionError):
        return False
    return True


class _Rejoined:
    """A stream with its head put back."""

    def __init__(self, head: list[bytes], stream: BinaryIO) -> None:
        self._head = head[::-1]
        self._stream = stream

    def readline(self, size: int) -> bytes:
        """Read a line, or as much of it as this."""
        if not self._head:
            return self._stream.readline(size)
        line = self._head.pop()
        if len(line) > size:
            self._head.append(line[size:])
            return line[:size]
        return line if line.endswith(b"\n") else line + self._stream.readline(size - len(line))


def _chunks(head: list[bytes], stream: BinaryIO) -> Iterator[bytes]:
    yield from head
    while chunk := stream.readline(_CHUNK):
        yield chunk


class _Splitter:
    """Cuts at the brackets that close a record; a top-level array is opened, not a record."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = 1
        self._starts_at = 0  # line of the record
        self._pieces: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_string = False
        self._skip = 0  # a backslash at the end of a chunk: the next character is escaped
        self._in_array = False
        self._arrays = 0
        #: How far the record's first line is indented, if it begins that line; and whether the
        #: line below it is indented further.
        self._indent: int | None = None
        self._is_pretty = False
        self._between = b""
        self._had_records = False

    def split(self, chunks: Iterator[bytes]) -> Iterator[Record]:
        """Give each record, and each place where something else stands."""
        for chunk in chunks:
            if self._depth and self._begins_anew(chunk):
                yield self._record()
                self._between = b"," if self._in_array else b""
            yield from self._take(chunk)
            self._line += chunk.endswith(b"\n")
        if self._depth:
            yield self._record()
        problem = self._gap(at_end=True)
        if problem or self._in_array:
            yield Record(self._line, None, problem or "not JSON: the array is not closed")

    def _begins_anew(self, line: bytes) -> bool:
        """Whether a line looks like the next record although a bracket of this one is missing."""
        inner = line.lstrip(b" \t")
        if self._indent is None or not inner.strip():
            return False
        indent = len(line) - len(inner)
        if self._line == self._starts_at + 1:
            self._is_pretty = indent > self._indent
        return self._is_pretty and indent == self._indent and inner.startswith(b"{")

    def _take(self, chunk: bytes) -> Iterator[Record]:
        begun, place, self._skip = 0, self._skip, 0
        while True:
            found = (_INSIDE if self._in_string else _OUTSIDE).search(chunk, place)
            if found is None:
                break
            mark, place = found.group(), found.end()
            if self._in_string:
                if mark == b"\\":
                    place += 1
                else:
                    self._in_string = False  # a line break ends a broken one
            elif mark == b'"':
                self._in_string = self._depth > 0
            elif mark in b"{[":
                if self._depth == 0:
                    self._between += chunk[begun : place - 1]
                    problem = self._gap()
                    if problem:
                        yield Record(self._line, None, problem)
                    begun = place - 1
                    if mark == b"[" and not self._in_array:
                        self._in_array, self._had_records, begun = True, False, place
                        self._arrays += 1
                        continue
                    before = chunk[: place - 1]
                    self._starts_at, self._is_pretty = self._line, False
                    self._indent = None if before.strip() else len(before)
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0:
                    self._keep(chunk[begun:place])
                    yield self._record()
                    begun = place
            elif mark == b"]" and self._in_array:
                self._between += chunk[begun : place - 1]
                problem = self._gap(at_end=True)
                if problem:
                    yield Record(self._line, None, problem)
                self._in_array, self._had_records, begun = False, False, place
        self._skip = max(0, place - len(chunk))
        if self._depth:
            self._keep(chunk[begun:])
        else:
            self._between = (self._between + chunk[begun:])[-1000:]

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._max_bytes:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _record(self) -> Record:
        data = b"".join(self._pieces) if self._size <= self._max_bytes else None
        self._pieces.clear()
        self._size = self._depth = 0
        self._in_string, self._had_records = False, True
        return Record(self._starts_at, data, array=self._arrays if self._in_array else 0)

    def _gap(self, *, at_end: bool = False) -> str:
        """Judge what stands between two records, and forget it."""
        between, self._between = self._between.strip(), b""
        if not self._in_array:
            return "" if between in (b"", b",") else "not JSON: something stands between two values"
        if at_end and between == b",":
            return "not JSON: a comma before the end of the array"
        wanted = b"," if self._had_records and not at_end else b""
        if between == wanted:
            return ""
        if between == b"":
            return "not JSON: a comma is missing before this value"
        return "not JSON: something stands between two values"


def refuse_unread(record: Record, max_bytes: int = MAX_LINE_BYTES) -> bytes:
    """Give a record's bytes.

    Raises:
        BadLine: It is too long, or it is none.
    """
    if record.problem:
        raise BadLine(record.problem)
    if record.data is None:
        raise BadLine(f"longer than {max_bytes // 1024 // 1024} MiB")
    return record.data
