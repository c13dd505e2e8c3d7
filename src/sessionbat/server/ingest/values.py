"""How many values a JSON text holds, told before it is parsed.

Three bytes of JSON, ``{},``, become 88 bytes of Python: 32 MB of them were 1 GB and several seconds
in which nothing else ran. So what is too many is known while it is still text.
"""

from __future__ import annotations

import re
from typing import Final

#: Of one event; the SDK sends a fifth of that at most.
MAX_EVENT_VALUES: Final = 250_000
#: Of all events that are in memory together.
MAX_VALUES: Final = 2_000_000

# A string with its escapes, whatever is in it, or a character that begins or parts values.
_TOKENS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,]', re.DOTALL)
_QUOTE: Final = ord('"')


def count_roughly(text: bytes) -> int:
    """Count values, those that only seem to be in a string included; never too few."""
    return text.count(b",") + text.count(b"{") + text.count(b"[")


def holds_more_than(limit: int, text: bytes) -> bool:
    """Whether a text holds more values than that; strings are looked into only if need be."""
    if count_roughly(text) <= limit:
        return False
    values = 0
    for token in _TOKENS.finditer(text):
        if text[token.start()] != _QUOTE:
            values += 1
            if values > limit:
                return True
    return False
