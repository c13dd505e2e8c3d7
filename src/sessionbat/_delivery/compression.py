"""The content codings that delivery knows: zstd where it can be imported, gzip always.

Both release the interpreter's lock while they work, so a large batch does not hold up the host.
"""

from __future__ import annotations

import zlib
from typing import Final

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

GZIP: Final = "gzip"
ZSTD: Final = "zstd"

#: What is used where nobody else has a say.
PREFERRED: Final = GZIP if zstandard is None else ZSTD


def choose(offered: list[str]) -> str | None:
    """Pick the best coding that an endpoint offers and this process knows."""
    return next((coding for coding in (PREFERRED, GZIP) if coding in offered), None)


def compress(body: bytes, coding: str) -> bytes:
    """Compress quickly rather than well: level 1 costs a quarter of level 6 and sends 15 % more."""
    if coding == ZSTD:
        # A compressor of its own for each call: they are cheap, and not safe between threads.
        return zstandard.ZstdCompressor(level=1).compress(body)
    return zlib.compress(body, 1, wbits=31)


def decompress(body: bytes, coding: str) -> bytes:
    """Undo ``compress``; for what this process compressed itself, never for foreign input."""
    if coding == ZSTD:
        return zstandard.ZstdDecompressor().decompress(body)
    return zlib.decompress(body, wbits=31)
