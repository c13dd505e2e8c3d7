"""Finds a repeated name in an event's JSON objects; parsers differ in which value they take.

The server checks the value that its own parser sees but hands out the original bytes, which another
parser may read differently. So an event is rejected when one of these objects repeats a name: the
event, its context, its feedback, its observation, and the observation's metadata, metrics and
error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

import orjson

from sessionbat.server.ingest.value_limits import outside_strings

_WHITESPACE: Final = b" \t\r\n"
_LOOKED_INTO: Final = frozenset(
    (
        "context",
        "feedback",
        "observation",
        "observation.metadata",
        "observation.metrics",
        "observation.error",
    )
)
#: The names that are read in each object. Other names may be repeated and are returned unchanged.
_READ: Final = {
    "": frozenset(
        (
            "type",
            "id",
            "created_at",
            "app",
            "session_id",
            "interaction_id",
            "tags",
            "context",
            "observation",
            "feedback",
        )
    ),
    "observation": frozenset(
        ("kind", "name", "started_at", "input", "output", "error", "metadata", "metrics")
    ),
}
# Numbers are passed over, not read: they may be of any length.
_DECODER: Final[Any] = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def find_repeated_name(raw: bytes, event: dict[str, Any]) -> str:
    """Return the path of a repeated name, like ``observation.input``; empty when there is none.

    Args:
        raw: One event as received.
        event: The same event, decoded.
    """
    # Decoding keeps each name once. Whatever is written anew with the same characters, blanks
    # aside, had each once; so it is of all that is sent by our SDK and of most else.
    again = orjson.dumps(event)
    if again == raw or again.translate(None, _WHITESPACE) == raw.translate(None, _WHITESPACE):
        return ""
    # Numbers and escapes may be written otherwise; each name that is there twice is lost.
    if _count_names(again) == _count_names(raw):
        return ""
    text = raw.decode()
    return _look_into(text, text.index("{"), "")


def _count_names(text: bytes) -> int:
    return sum(outside.count(b":") for outside, _ in outside_strings(text))


def _look_into(text: str, start: int, path: str) -> str:
    seen: set[str] = set()
    for name, at in _members(text, start):
        place = f"{path}.{name}" if path else name
        if name in seen and name in _READ.get(path, (name,)):
            return place
        seen.add(name)
        if place in _LOOKED_INTO and text[at] == "{":
            found = _look_into(text, at, place)
            if found:
                return found
    return ""


def _members(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Return the names of an object and where their values begin; the text must be valid JSON."""
    at = _after_blanks(text, start + 1)
    while text[at] == '"':
        key, at = scanstring(text, at + 1)
        at = _after_blanks(text, _after_blanks(text, at) + 1)  # past the colon
        yield key, at
        _, at = _DECODER.scan_once(text, at)
        at = _after_blanks(text, at)
        if text[at] != ",":
            return
        at = _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
