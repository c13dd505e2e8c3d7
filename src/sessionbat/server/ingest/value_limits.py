"""Counts the values of a JSON text before it is parsed.

Three bytes of JSON, ``{},``, become 88 bytes of Python: 32 MB of them took 1 GB and several seconds
in which nothing else ran. So too many values are detected while they are still text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: The limit for all events of a body.
MAX_VALUES: Final = 1_000_000

# Looked through in one go, in which no other thread runs: a tenth of a millisecond, a few where the
# text is made to take long.
_PART_BYTES: Final = 256 * 1024

_SEPARATORS: Final = b",{["
_ALL_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _SEPARATORS)


def count_roughly(text: bytes) -> int:
    """Count values, including apparent ones inside strings; at most one too few."""
    return len(text.translate(None, _ALL_OTHERS))  # a third of what three counts take


def holds_more_than(limit: int, text: bytes) -> bool:
    """Whether a text holds more values than a limit; excludes strings only if the result needs it.

    Counting stops as soon as the limit is passed.
    """
    if count_roughly(text) <= limit:
        return False
    values = quotes = 0
    for outside, count in outside_strings(text):
        values += count_roughly(outside)
        quotes += count
        if values > limit or quotes > 4 * (limit + 1):  # a string is a value, or the key of one
            return True
    return False


def outside_strings(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield a JSON text in parts, without its strings, with the number of quotes in each part."""
    start, is_inside = 0, 0
    while start < len(text):
        end = _end_of_part(text, start + _PART_BYTES)
        # Two of the same length each: what is left of a backslash escapes nothing.
        part = text[start:end].replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        pieces = part.split(b'"')
        yield b"".join(pieces[is_inside::2]), len(pieces) - 1
        is_inside ^= len(pieces) % 2 == 0
        start = end


def _end_of_part(text: bytes, end: int) -> int:
    """Move the end of a part past backslashes there and the characters they escape."""
    if end >= len(text) or text[end - 1] != _BACKSLASH:
        return min(end, len(text))
    behind = _NO_BACKSLASH.search(text, end)
    return len(text) if behind is None else behind.end()


_BACKSLASH: Final = 0x5C
_NO_BACKSLASH: Final = re.compile(rb"[^\\]")
