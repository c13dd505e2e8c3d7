"""Any attribute as the kind it ought to be; what cannot be read becomes nothing.

Attributes are hostile input: any name may hold any type, JSON may be broken, deep or huge.
"""

from __future__ import annotations

import ast
import base64
import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

#: Of a session's, user's or agent's name and the like.
MAX_NAME_CHARACTERS: Final = 1024
#: JSON in an attribute beyond this stays text.
MAX_JSON_CHARACTERS: Final = 8 * 1024 * 1024
#: Python's own spelling of a dictionary is read only when it is short: parsing it is slow.
MAX_REPR_CHARACTERS: Final = 64 * 1024
#: Values of one event; further ones are counted where they stood.
MAX_VALUES: Final = 50_000
MAX_DEPTH: Final = 64
#: Bytes kept as base64; longer ones are named by their digest.
MAX_BYTES: Final = 1024


def text(value: Any) -> str:
    """Give a string as it is, a number as its digits, bytes decoded, anything else as empty."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _digits(value)
    return ""


def name(value: Any) -> str | None:
    """Give a name: text without space around it, cut to ``MAX_NAME_CHARACTERS``; None if empty."""
    if type(value) is str and len(value) <= MAX_NAME_CHARACTERS and value.isascii():
        return value.strip() or None  # nearly always
    if value is None:
        return None
    words = _without_surrogates(text(value)[: MAX_NAME_CHARACTERS + 64].strip())
    return words[:MAX_NAME_CHARACTERS] or None


def number(value: Any) -> float | int | None:
    """Give a finite number, also one in a string; True and False are none."""
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value) if not value.strip().isdecimal() else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if value.bit_length() <= 63 else None
    return value if math.isfinite(value) else None


def count(value: Any) -> int | None:
    """Give a whole number that is not negative."""
    if value is None:
        return None
    found = number(value)
    if found is None or not 0 <= found < 2**62:
        return None
    return int(found)


def decoded(value: Any, max_characters: int | None = MAX_JSON_CHARACTERS) -> Any:
    """Read a string that holds a JSON object, array or string as that; else as it is.

    Args:
        value: Any.
        max_characters: A longer string is given as it is; None reads any.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or (max_characters is not None and len(value) > max_characters):
        return value
    stripped = value.strip() if value[:1].isspace() or value[-1:].isspace() else value
    if _JSON_ENDS.get(stripped[:1]) != stripped[-1:] or not stripped:
        return value
    try:
        found, end = _scan_json(stripped, 0)
    except (ValueError, RecursionError, StopIteration):
        return value
    return found if end == len(stripped) else value


def unrepresented(value: Any) -> Any:
    """Read a string that holds JSON or Python's own spelling of a value; else as it is."""
    found = decoded(value)
    if not isinstance(found, str) or len(found) > MAX_REPR_CHARACTERS:
        return found
    if (found[:1], found[-1:]) not in (("{", "}"), ("[", "]")):
        return found
    try:
        return ast.literal_eval(found)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return found


def mapping(value: Any) -> Mapping[str, Any]:
    """Give an object as it is, also one that is JSON in a string; anything else as empty."""
    if value is None:
        return _EMPTY
    value = decoded(value)
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> Sequence[Any]:
    """Give an array as it is, also one that is JSON in a string; anything else as empty."""
    value = decoded(value)
    return value if isinstance(value, list | tuple) else ()


def dig(value: Any, *path: str | int) -> Any:
    """Give what lies at a path of keys and indexes, or None."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            is_there = isinstance(value, list | tuple) and len(value) > step
            value = value[step] if is_there else None
    return value


def digest(*words: str) -> str:
    """Give 24 hex digits for texts, the same for the same ones."""
    written = "\0".join((*words, "")).encode("utf-8", "surrogatepass")
    return sha256(written).hexdigest()[:24]


def canonical(value: Any) -> str:
    """Write a value as JSON in one way, whatever order its keys came in."""
    try:
        return _write_canonical(value)
    except (TypeError, ValueError, RecursionError):
        return repr(type(value))


def plain(value: Any) -> Any:
    """Copy a value as JSON can hold it, by the rules of the event; bounded in size and depth."""
    return _Plain(MAX_VALUES).of(value, 0)


def plain_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Give an event as JSON can hold it; each of its parts has room of its own.

    Parts that JSON can hold, as nearly all can, are not copied.
    """
    return {key: _parts(value) if key in _INNER else _part(value) for key, value in event.items()}


#: What an event holds, each field with room of its own.
_INNER: Final = frozenset({"observation", "feedback"})


def _parts(value: Any) -> Any:
    if not isinstance(value, dict):
        return _part(value)
    return {key: _part(inner) for key, inner in value.items()}


def _part(value: Any) -> Any:
    if value is None or not value or (type(value) is str and value.isascii()):
        kind = type(value)
        if value is None or kind is str or kind is list or kind is dict:
            return value
    return value if _is_plain(value) else _Plain(MAX_VALUES).of(value, 0)


def _is_plain(value: Any) -> bool:
    """Whether a value is as ``plain`` would copy it: half the price of copying it."""
    level: list[Any] = [[value]]
    depth, left = 0, MAX_VALUES
    while level:
        deeper: list[Any] = []
        for each in level:
            left -= len(each)
            if type(each) is dict:
                for key in each:
                    if type(key) is not str or not key.isascii():
                        return False
                each = each.values()
            for inner in each:
                kind = type(inner)
                if kind is str:
                    if not inner.isascii() and _has_surrogates(inner):
                        return False
                elif kind is dict or kind is list:
                    deeper.append(inner)
                elif kind is int:
                    if not -(2**63) <= inner < 2**64:
                        return False
                elif kind is float:
                    if not math.isfinite(inner):
                        return False
                elif inner is not None and kind is not bool:
                    return False
        level, depth = deeper, depth + 1
        if depth > MAX_DEPTH or left < 0:
            return not deeper and left >= 0
    return True


_EMPTY: Final[Mapping[str, Any]] = {}
_JSON_ENDS: Final = {"{": "}", "[": "]", '"': '"'}


def _no_constant(_: str) -> None:
    return None  # NaN and the infinities are no JSON


# The part of ``decode`` that is written in C; the rest passes over spaces around the value.
_scan_json: Final = json.JSONDecoder(parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]
_write_canonical: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode


def _digits(value: float) -> str:
    if isinstance(value, int) and value.bit_length() > 512:
        return ""
    return str(value)


def _without_surrogates(words: str) -> str:
    if words.isascii():
        return words
    return words.encode("utf-8", "replace").decode("utf-8") if _has_surrogates(words) else words


def _has_surrogates(words: str) -> bool:
    try:
        words.encode()
    except UnicodeEncodeError:
        return True
    return False


class _Plain:
    """Copies values as far as there is room."""

    def __init__(self, room: int) -> None:
        self._room = room

    def of(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is dict or kind is list:
            if depth >= MAX_DEPTH:
                return "<depth>"
            return self._object(value, depth + 1) if kind is dict else self._array(value, depth + 1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text_of(str(value))
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**64 else _digits(value) or "<number>"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        return self._unusual(value, depth)

    def _unusual(self, value: Any, depth: int) -> Any:
        if isinstance(value, bytes | bytearray):
            return _bytes(bytes(value))
        if isinstance(value, Mapping):
            return self.of(dict(value), depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self.of(list(value), depth)
        return _text_of(str(value)) if isinstance(value, complex) else f"<{type(value).__name__}>"

    def _object(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        self._room -= len(value)
        for key, inner in value.items():
            if self._room < 0 and len(kept) >= max(0, len(value) + self._room):
                kept["…"] = f"<{len(value) - len(kept)} more>"
                break
            if type(key) is not str or not key.isascii():
                key = _text_of(key if isinstance(key, str) else str(key))
            is_plain = type(inner) is str and inner.isascii()  # nearly always
            kept[key] = inner if is_plain else self.of(inner, depth)
        return kept

    def _array(self, values: list[Any], depth: int) -> list[Any]:
        kept: list[Any] = []
        self._room -= len(values)
        for value in values:
            if self._room < 0 and len(kept) >= max(0, len(values) + self._room):
                kept.append(f"<{len(values) - len(kept)} more>")
                break
            is_plain = type(value) is str and value.isascii()
            kept.append(value if is_plain else self.of(value, depth))
        return kept


def _text_of(words: str) -> str:
    if words.isascii() or not _has_surrogates(words):
        return words
    return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _bytes(data: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "bytes", "size": len(data)}
    if len(data) <= MAX_BYTES:
        return {**said, "base64": base64.b64encode(data).decode("ascii")}
    return {**said, "sha256": sha256(data).hexdigest()}
