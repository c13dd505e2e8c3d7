"""JSON inside a text, as a mask has to read it: also where strict parsers give up.

Two parsers that differ are a hole in a mask, so what one of them cannot read is read by the other,
and what neither can read is scanned for keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

#: More digits than Python turns into a number without being asked to; such an integer stays text.
_MAX_DIGITS: Final = 4000
_BEGINS: Final = re.compile(r'[\s\ufeff]*[\[{"]')
#: A key in front of its colon, in whatever quotes, also escaped once more. Bounded on every side,
#: so that it is linear in any text.
_QUOTED_KEY: Final = r"""\\{0,8}["']((?:[^"'\\\n]|\\u[0-9a-fA-F]{4}){1,128})\\{0,8}["']\s{0,64}:"""
_BARE_KEY: Final = r"(?<![\w-])([A-Za-z_][\w-]{0,127})\s{0,64}:"
_ANY_KEY: Final = re.compile(f"{_QUOTED_KEY}|{_BARE_KEY}")
_KEY: Final = re.compile(_QUOTED_KEY)
#: Each key ends so, and a string may hold the like.
_KEY_END: Final = re.compile(r'"\s*:')
_QUOTE: Final = re.compile(r'[\s\ufeff]*"')
_STRING: Final = re.compile(r"""\s{0,64}(\\{0,8})(["'])""")
_WORD: Final = re.compile(r"\s{0,64}[^\s,;}\]]*")


class UnreadableError(ValueError):
    """A text that begins like JSON is none."""


def may_be_json(text: str) -> bool:
    """Whether a text begins like a JSON object, array or string."""
    return _BEGINS.match(text) is not None


def read(text: str) -> Any:
    """Read JSON as any parser would: also NaN, wide integers, a byte order mark.

    Raises:
        UnreadableError: It is no JSON, or nested too deep.
    """
    text = text.strip().strip("\ufeff").strip()
    try:
        return orjson.loads(text)
    except ValueError:  # also a lone surrogate, an integer of many digits, a thousand levels
        pass
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        raise UnreadableError from None


def write(value: Any) -> str:
    """Write what ``read`` gave, in a way that it reads again."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate, a wide integer
        return json.dumps(value)


def begins_with_quote(text: str) -> bool:
    """Whether a text that may be JSON begins like a string: mostly it is somebody's speech."""
    return _QUOTE.match(text) is not None


def shows_all(text: str, value: Any) -> bool:
    """Whether a text holds no key that was read away because it stands there twice."""
    key_ends = sum(1 for _ in _KEY_END.finditer(text))
    return key_ends == _count_keys(value) or not _repeats_keys(text)


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if type(value) is list else 0


def _repeats_keys(text: str) -> bool:
    repeated = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) < len(pairs)
        return found

    try:
        json.loads(text.strip().strip("\ufeff"), object_pairs_hook=look, parse_int=_integer)
    except (ValueError, RecursionError):
        return True
    return repeated


def names_a_key(text: str, is_named: Callable[[str], bool]) -> bool:
    """Whether a named key stands in front of a colon somewhere in a text that is no JSON."""
    return any(is_named(_unescaped(found[1] or found[2])) for found in _ANY_KEY.finditer(text))


def without_values(text: str, is_named: Callable[[str], bool], replacement: str) -> str:
    """Replace the values of named keys in a text that holds JSON somewhere: ``data: {...}``."""
    parts: list[str] = []
    done = start = 0
    while (found := _KEY.search(text, start)) is not None:
        start = found.end()
        if is_named(_unescaped(found[1])):
            parts += (text[done:start], replacement)
            start = done = _value_end(text, start)
    return "".join((*parts, text[done:])) if parts else text


def _value_end(text: str, begin: int) -> int:
    """Find where a value ends; one that is no plain string, number or word takes all the rest."""
    opening = _STRING.match(text, begin)
    if opening is None:
        word = _WORD.match(text, begin)
        assert word is not None
        is_nested = word[0].lstrip()[:1] in ("{", "[") or not word[0].strip()
        return len(text) if is_nested else word.end()
    closing = re.compile(rf"(?<!\\){re.escape(opening[1])}{opening[2]}")
    end = closing.search(text, opening.end())
    return len(text) if end is None else end.end()


def _unescaped(key: str) -> str:
    if "\\" not in key:
        return key
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), key)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits
