"""Ids of traces and spans, in whichever form a sender writes them, as lower-case hexadecimal."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, Final

from sessionbat.server.ingest.otlp.limits import Unreadable

#: Bytes of an id.
TRACE: Final = 16
SPAN: Final = 8

_HEX: Final = re.compile("[0-9a-fA-F]+")
_BASE64: Final = re.compile("[A-Za-z0-9+/]+={0,2}")
_NAMES: Final = {TRACE: "trace id", SPAN: "span id"}


def from_bytes(data: bytes, size: int) -> str:
    """Read an id of protobuf; of one that holds the text of an id, that id.

    Raises:
        Unreadable: It is missing, all zero, or of another length.
    """
    if len(data) == 2 * size and data.isalnum():
        return from_text(data.decode("ascii"), size)
    return _checked(data, size)


def from_text(text: Any, size: int) -> str:
    """Read an id of JSON: hexadecimal; or base64, which is of another length and so unmistakable.

    Raises:
        Unreadable: It is missing, all zero, or neither.
    """
    if not isinstance(text, str) or not text:
        return _checked(b"", size)
    if len(text) == 2 * size and _HEX.fullmatch(text):
        return _checked(bytes.fromhex(text), size)
    if len(text) == 4 * -(-size // 3) and _BASE64.fullmatch(text):
        return _checked(b64decode(text), size)
    raise Unreadable("bad-span", f"its {_NAMES[size]} is not {2 * size} hexadecimal digits")


def _checked(data: bytes, size: int) -> str:
    if not data or not any(data):
        raise Unreadable("bad-span", f"it has no {_NAMES[size]}; every span has one")
    if len(data) != size:
        raise Unreadable("bad-span", f"its {_NAMES[size]} is not {size} bytes long")
    return data.hex()
