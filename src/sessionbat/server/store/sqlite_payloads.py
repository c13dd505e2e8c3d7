"""The JSON of events on its way to the disk and back, byte for byte."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sessionbat.server.records import ReceivedEvent

if TYPE_CHECKING:
    import zstandard

PLAIN: Final = 0
ZSTD: Final = 1


class PayloadWriter:
    """Compresses and inserts payloads; used by one thread at a time."""

    def __init__(self) -> None:
        self._compressor: zstandard.ZstdCompressor | None = None

    def insert(
        self, connection: sqlite3.Connection, events: Sequence[tuple[int, int, ReceivedEvent]]
    ) -> None:
        """Insert payloads of events, each with its own number and its session's."""
        connection.executemany(
            "INSERT INTO payloads (event, codec, data) VALUES (?, ?, ?)",
            ((number, *self._encode(received.raw)) for number, _, received in events),
        )

    def _encode(self, raw: bytes) -> tuple[int, bytes]:
        if self._compressor is None:
            import zstandard  # here, so that a server is ready before it is loaded

            self._compressor = zstandard.ZstdCompressor(level=3)
        compressed = self._compressor.compress(raw)
        return (ZSTD, compressed) if len(compressed) < len(raw) else (PLAIN, raw)


class PayloadReader:
    """Decodes payloads; used by one thread at a time."""

    def __init__(self) -> None:
        self._decompressor: zstandard.ZstdDecompressor | None = None

    def decode_own(
        self, connection: sqlite3.Connection, event: int, codec: int, data: bytes
    ) -> tuple[bytes, list[bytes]]:
        """Give an event's JSON without what earlier events of its session brought already.

        Returns:
            The JSON, and that of each message which this event brought and which is not in it.
        """
        return self.decode(codec, data), []

    def decode(self, codec: int, data: bytes) -> bytes:
        """Give the JSON that was stored."""
        if codec == PLAIN:
            return data
        if self._decompressor is None:
            import zstandard

            self._decompressor = zstandard.ZstdDecompressor()
        return self._decompressor.decompress(data)
