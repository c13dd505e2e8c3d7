"""Reads any JSON value as an expected type, or as one line; wrong types become empty values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any, Final, TypeGuard


def text(value: Any) -> str:
    """Return a string unchanged, and "" for anything else."""
    return value if isinstance(value, str) else ""


def mapping(value: Any) -> dict[str, Any]:
    """Return an object unchanged, and {} for anything else."""
    return value if isinstance(value, dict) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a finite number (true and false are not numbers)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def without_empty(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Copy an object without these keys and without empty values."""
    return {k: v for k, v in values.items() if k not in keys and v not in (None, "", [], {})}


#: The limit for one event; the SDK sends a fifth of that at most.
MAX_EVENT_VALUES: Final = 250_000
#: The limit for one event on a session's page, and for JSON decoded from a string.
MAX_SHOWN_VALUES: Final = 50_000


def unwrap(value: Any, most: int = MAX_SHOWN_VALUES) -> Any:
    """Decode a string that holds a JSON object or array; return anything else unchanged.

    A string that holds more than ``most`` values is returned unchanged too.
    """
    if not isinstance(value, str) or value[:1] not in ("{", "[") or value[-1:] not in ("}", "]"):
        return value
    if len(value) > most and count_roughly(value) > most:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def count_roughly(json_text: str) -> int:
    """Count the values in a JSON text, including apparent ones inside its strings."""
    return json_text.count(",") + json_text.count("{") + json_text.count("[")


def gist(value: Any, limit: int = 120) -> str:
    """Summarize a value in one line: its keys and short values, the most informative first."""
    pieces: list[str] = []
    length, more = 0, False
    for piece in _gist_pieces(value, 0):
        more = length > limit
        if more:
            break
        pieces.append(piece[: limit + 1])
        length += len(pieces[-1])
    line = " ".join("".join(pieces).split())
    if len(line) > limit:
        return _cut_at_word(line[:limit]) + "…"
    return f"{line}…" if more else line


def scalar(value: Any) -> str:
    """Write a string, number, true, false or null as JSON does."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value.bit_length() <= 4096 else "(an enormous integer)"
    return _WORDS[value] if value is None or isinstance(value, bool) else repr(value)


_WORDS: Final = {None: "null", True: "true", False: "false"}


def _cut_at_word(line: str) -> str:
    space = line.rfind(" ", len(line) * 3 // 4)
    return line if space < 0 else line[:space].rstrip(",:; ")


def _gist_pieces(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:400]
    elif isinstance(value, (dict, list)) and value and depth >= 3:
        yield "{…}" if isinstance(value, dict) else "[…]"
    elif isinstance(value, dict):
        yield "{" if depth else ""
        for index, (key, inner) in enumerate(value.items()):
            yield f"{', ' if index else ''}{key}: "
            yield from _gist_pieces(inner, depth + 1)
        yield "}" if depth else ""
    elif isinstance(value, list):
        yield "["
        for index, inner in enumerate(value):
            yield ", " if index else ""
            yield from _gist_pieces(inner, depth + 1)
        yield "]"
    else:
        yield scalar(value)
