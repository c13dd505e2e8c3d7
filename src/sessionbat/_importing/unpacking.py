"""A file as a stream of UTF-8 bytes: gzip and Zstandard unpacked, UTF-16 decoded, bytes counted.

Told by the first bytes, whatever the file is called. At any moment a few megabytes are held, even
of a file that unpacks to a thousand times its size.
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from sessionbat._importing.bad import DamagedFileError

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_REFUSED: Final = {b"PK\3\4": "a zip archive", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_CHUNK: Final = 64 * 1024
_MAX_UNPACKED: Final = 1024 * 1024  # at once
_ZSTD_CHUNK: Final = 256  # its decompressor knows no such limit: less goes in
_ZSTD_MAX_WINDOW: Final = 128 * 1024 * 1024  # what ``zstd --long`` writes
_UTF_16: Final = {
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
    # Without a byte order mark JSON still begins with two ASCII characters.
    b"{\0": "utf-16-le",
    b"[\0": "utf-16-le",
    b" \0": "utf-16-le",
    b"\r\0": "utf-16-le",
    b"\n\0": "utf-16-le",
    b"\0{": "utf-16-be",
    b"\0[": "utf-16-be",
    b"\0 ": "utf-16-be",
    b"\0\r": "utf-16-be",
    b"\0\n": "utf-16-be",
}


class Unpacked(NamedTuple):
    """A stream ready to be read line by line, and how it was packed."""

    stream: BinaryIO
    #: ``gzip``, ``zstd``, ``UTF-16``, from the outside in.
    layers: list[str]


def unpack(stream: BinaryIO, on_bytes: Callable[[int], None] = lambda _: None) -> Unpacked:
    """Open a stream whatever it is packed in.

    Args:
        stream: Open for reading bytes, at its beginning.
        on_bytes: Called with the count of bytes that were read from it, chunk by chunk.

    Raises:
        DamagedFileError: Also later, while the result is read: the file ends early or is broken.
    """
    chunks, layers = _Peeked(_read(stream, on_bytes)), []
    for start, name in _REFUSED.items():
        if chunks.start(len(start)) == start:
            raise DamagedFileError(
                f"{name}: unpack it first; gzip and Zstandard are read as they are"
            )
    while packing := _packing(chunks.start(4)):
        layers.append(packing)
        chunks = _Peeked(_gunzip(chunks) if packing == "gzip" else _unzstd(chunks))
        if len(layers) > 2:
            raise DamagedFileError("packed more than twice; unpack it first")
    encoding = _UTF_16.get(chunks.start(2))
    if encoding is not None:
        layers.append("UTF-16")
        chunks = _Peeked(_to_utf_8(chunks, encoding))
    return Unpacked(io.BufferedReader(_ChunkStream(chunks), 1024 * 1024), layers)


def _packing(start: bytes) -> str | None:
    return "gzip" if start[:2] == _GZIP else "zstd" if start == _ZSTD else None


class _Peeked(Iterator[bytes]):
    """Chunks whose beginning can be looked at."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._first = b""

    def start(self, size: int) -> bytes:
        """Look at the first bytes; fewer where there are no more."""
        while len(self._first) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._first += chunk
        return self._first[:size]

    def __next__(self) -> bytes:
        if self._first:
            chunk, self._first = self._first, b""
            return chunk
        return next(self._chunks)


class _ChunkStream(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._left:
            self._left = next(filter(None, self._chunks), b"")
        view = memoryview(target).cast("B")
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _read(stream: BinaryIO, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    # From a pipe, take what is there: waiting for a full chunk would look like a hang.
    read = getattr(stream, "read1", stream.read)
    while chunk := read(_CHUNK):
        on_bytes(len(chunk))
        yield chunk


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack one gzip member after the other: files are joined by ``cat``."""
    member, data = zlib.decompressobj(31), b""
    try:
        for chunk in chunks:
            data += chunk
            while data:
                yield member.decompress(data, _MAX_UNPACKED)
                data = member.unconsumed_tail
                if member.eof:
                    data = member.unused_data.lstrip(b"\0")  # tapes are padded
                    member = zlib.decompressobj(31)
                    if data and not _GZIP.startswith(data[:2]):
                        raise DamagedFileError("gzip: something else follows the packed data")
                    if len(data) < 2:
                        break
    except zlib.error as exc:
        raise DamagedFileError("gzip: the packed data is broken") from exc
    yield from _rest_of_gzip(member, data)


def _rest_of_gzip(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    # A member that has begun has taken bytes: a copy of a fresh one would give nothing back.
    if data or not _is_fresh(member):
        yield member.flush()
        raise DamagedFileError("gzip: the file is cut off")


def _is_fresh(member: zlib._Decompress) -> bool:
    try:
        member.copy().decompress(b"\0\0")
    except zlib.error:
        return True  # a header was due
    return False


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack one Zstandard frame after the other."""
    try:
        import zstandard
    except ImportError as exc:
        raise DamagedFileError(
            "zstd: unpacking it needs the package zstandard; install it, or run zstd -dc"
        ) from exc
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    frame, is_open = unpacker.decompressobj(), False
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), _ZSTD_CHUNK):
                data = chunk[start : start + _ZSTD_CHUNK]
                while data:
                    yield frame.decompress(data)
                    is_open, data = not frame.eof, frame.unused_data
                    if frame.eof:
                        frame = unpacker.decompressobj()
    except zstandard.ZstdError as exc:
        raise DamagedFileError("zstd: the packed data is broken") from exc
    if is_open:
        raise DamagedFileError("zstd: the file is cut off")


def _to_utf_8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    # Half of a surrogate pair becomes bytes that are no UTF-8, so that it spoils one record only.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise DamagedFileError("UTF-16: the file ends in the middle of a character") from exc
