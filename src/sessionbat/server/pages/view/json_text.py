"""Prints any JSON value as lines, bounded in number and length.

Omitted parts are always marked, never dropped silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sessionbat.server.reading.json_values import gist, scalar

#: Deeper than this is folded into one line: nobody reads it, and recursion has an end.
MAX_DEPTH: Final = 20
#: Objects and arrays that fit into so many characters stand on one line.
_SHORT: Final = 64


@dataclass(frozen=True, slots=True)
class Clipped:
    """A text that may be cut; ``cut`` counts the omitted characters."""

    text: str
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A printed line: indentation, a key with its colon, a value and the characters after it."""

    indent: str
    key: str
    #: ``string``, ``number``, ``word`` (true, false, null), ``mark`` (brackets) or ``short`` (a
    #: small object or array on one line).
    kind: str
    text: str
    tail: str


@dataclass(frozen=True, slots=True)
class JsonText:
    """A printed JSON value; ``cut`` is true when lines or characters were omitted."""

    #: A summary of its content in one line.
    gist: str
    lines: list[Line]
    cut: bool


def clip(text: str, limit: int) -> Clipped:
    """Cut a text to at most ``limit`` characters, and count the rest."""
    return Clipped(text) if len(text) <= limit else Clipped(text[:limit], len(text) - limit)


def print_json(value: Any, *, max_lines: int, max_characters: int) -> JsonText:
    """Print a value in indented lines, with limits on their number and on each string's length."""
    printer = _Printer(max_characters)
    lines = list(islice(printer.lines(value), max_lines + 1))
    return JsonText(gist(value), lines[:max_lines], printer.cut or len(lines) > max_lines)


def _on_one_line(value: Any, room: int, depth: int = 0) -> str | None:
    """Print a small value without line breaks; None when it is not small."""
    if not isinstance(value, (dict, list)):
        if isinstance(value, str) and len(value) > room:
            return None
        text = scalar(value)
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
        pieces.append(f"{scalar(name)}: {printed}" if is_object else printed)
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
            return "word", scalar(value)
        return "number", scalar(value)

    def _quoted(self, text: str) -> str:
        shown = clip(text, self._max_characters)
        quoted = scalar(shown.text)
        if not shown.cut:
            return quoted
        self.cut = True
        return f'{quoted[:-1]}…[+{shown.cut} characters]"'
