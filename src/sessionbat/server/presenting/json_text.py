"""Any JSON value as lines to print, and as a gist of one line; both bounded, however big it is.

What is left out is said, never silently dropped. Strings that hold JSON (tool arguments and
results often do) can be read as what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, Final

#: Deeper than this is folded into one line: nobody reads it, and recursion has an end.
MAX_DEPTH: Final = 20
#: Objects and arrays that fit into so many characters stand on one line.
_SHORT: Final = 64


@dataclass(frozen=True, slots=True)
class Clipped:
    """A text, perhaps cut; ``cut`` counts the characters left out."""

    text: str
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line: indentation, a key with its colon, a value and what follows it."""

    indent: str
    key: str
    #: ``string``, ``number``, ``word`` (true, false, null), ``mark`` (brackets) or ``short`` (a
    #: small object or array on one line).
    kind: str
    text: str
    tail: str


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON value, printed; ``cut`` when lines or characters were left out."""

    value: Any
    lines: list[Line]
    cut: bool

    @property
    def gist(self) -> str:
        """What it holds, in one line."""
        return gist(self.value)


def clip(text: str, limit: int) -> Clipped:
    """Cut a text to at most ``limit`` characters, and count the rest."""
    return Clipped(text) if len(text) <= limit else Clipped(text[:limit], len(text) - limit)


def print_json(value: Any, *, max_lines: int, max_characters: int) -> JsonText:
    """Print a value in indented lines, at most so many, each string at most so long."""
    printer = _Printer(max_characters)
    lines = list(islice(printer.lines(value), max_lines + 1))
    return JsonText(value, lines[:max_lines], printer.cut or len(lines) > max_lines)


def unwrap(value: Any) -> Any:
    """Read a string that holds a JSON object or array as that; anything else stays as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "[") or value[-1:] not in ("}", "]"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def gist(value: Any, limit: int = 120) -> str:
    """Say in one line what a value holds, most telling first: its keys and short values."""
    pieces: list[str] = []
    length, more = 0, False
    for piece in _gist_pieces(value, 0):
        more = length > limit
        if more:
            break
        pieces.append(piece[: limit + 1])
        length += len(pieces[-1])
    text = " ".join("".join(pieces).split())
    if len(text) > limit:
        return _cut_at_word(text[:limit]) + "…"
    return f"{text}…" if more else text


def _cut_at_word(text: str) -> str:
    space = text.rfind(" ", len(text) * 3 // 4)
    return text if space < 0 else text[:space].rstrip(",:; ")


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
        yield _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value.bit_length() <= 4096 else "(an enormous integer)"
    return _WORDS[value] if value is None or isinstance(value, bool) else repr(value)


_WORDS: Final = {None: "null", True: "true", False: "false"}


def _on_one_line(value: Any, room: int, depth: int = 0) -> str | None:
    """Print a small value without line breaks; None when it is not small."""
    if not isinstance(value, (dict, list)):
        if isinstance(value, str) and len(value) > room:
            return None
        text = _scalar(value)
        return text if len(text) <= room else None
    if len(value) > 12 or depth > 2:
        return None
    is_object = isinstance(value, dict)
    pieces: list[str] = []
    for item in value.items() if isinstance(value, dict) else value:
        name, inner = item if is_object else ("", item)
        printed = _on_one_line(inner, room, depth + 1)
        if printed is None or len(name) > room:
            return None
        pieces.append(f"{_scalar(name)}: {printed}" if is_object else printed)
        room -= len(pieces[-1]) + 2
        if room < 0:
            return None
    return f"{{{', '.join(pieces)}}}" if is_object else f"[{', '.join(pieces)}]"


class _Printer:
    """Walks a value once, remembering whether anything was cut on the way."""

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self.cut = False

    def lines(
        self, value: Any, indent: str = "", key: str = "", tail: str = "", depth: int = 0
    ) -> Iterator[Line]:
        if isinstance(value, (dict, list)) and value:
            opening, closing = "{}" if isinstance(value, dict) else "[]"
            short = _on_one_line(value, _SHORT)
            if short is not None:
                yield Line(indent, key, "short", short, tail)
                return
            if depth >= MAX_DEPTH:
                self.cut = True
                yield Line(indent, key, "mark", f"{opening}…{closing}", tail)
                return
            yield Line(indent, key, "mark", opening, "")
            yield from self._inside(value, indent + "  ", depth + 1)
            yield Line(indent, "", "mark", closing, tail)
        else:
            kind, text = self._leaf(value)
            yield Line(indent, key, kind, text, tail)

    def _inside(self, value: Any, indent: str, depth: int) -> Iterator[Line]:
        named = isinstance(value, dict)
        pairs = value.items() if named else ((None, item) for item in value)
        last = len(value) - 1
        for index, (name, item) in enumerate(pairs):
            key = self._quoted(str(name)) + ": " if named else ""
            yield from self.lines(item, indent, key, "" if index == last else ",", depth)

    def _leaf(self, value: Any) -> tuple[str, str]:
        if isinstance(value, str):
            return "string", self._quoted(value)
        if isinstance(value, (dict, list)):
            return "mark", "{}" if isinstance(value, dict) else "[]"
        if value is None or isinstance(value, bool):
            return "word", _scalar(value)
        return "number", _scalar(value)

    def _quoted(self, text: str) -> str:
        shown = clip(text, self._max_characters)
        quoted = _scalar(shown.text)
        if not shown.cut:
            return quoted
        self.cut = True
        return f'{quoted[:-1]}…[+{shown.cut} characters]"'
