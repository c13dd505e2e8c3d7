"""The keys that a request brings in its headers.

``Authorization: Bearer`` everywhere. Programs with a protocol of their own are often configured
through a form that knows other headers only: they may also send ``x-api-key``, or Basic with the
key as user or password.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import Any, Final

from starlette.types import Scope

#: How each key begins; a user or password that does not is for a proxy in front.
PREFIX: Final = "sbat_"


def keys_of(scope: Scope, *, by_any_header: bool) -> list[str]:
    """Read the keys of a request; an empty one is a key, too, and a wrong one.

    Who sends the same key in two headers sends one.

    Args:
        scope: The request.
        by_any_header: Whether it may bring them in other headers than ``Authorization: Bearer``.
    """
    found = []
    for value in header_values(scope, b"authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
        elif by_any_header and scheme.lower() == "basic":
            found += _of_basic(token.strip())
    if by_any_header:
        others = (value.strip() for value in header_values(scope, b"x-api-key"))
        found += [key for key in others if key not in found]
    return found


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Give the values of a header."""
    headers: list[tuple[bytes, Any]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def _of_basic(token: str) -> list[str]:
    try:
        user, _, password = b64decode(token, validate=True).decode("latin-1").partition(":")
    except (Error, ValueError):
        return []
    return [each for each in (password, user) if each.startswith(PREFIX)][:1]
