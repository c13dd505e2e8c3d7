"""Search snippets from texts of any length: selects a window, and reads FTS5's snippet of it.

FTS5 makes the snippet, with its own tokenizer. Its time grows with the square of the hits, in one
step that cannot be interrupted, so it gets only a window of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sessionbat.server.reading.folding import Trace, can_part, fold, is_of_word
from sessionbat.server.store.query_terms import Term

#: The number of words in a snippet.
WORDS: Final = 24
#: Control characters in a folded snippet: around a hit, and at omitted text.
BEGIN, END, LEFT_OUT = "\x02", "\x03", "\x01"

# Characters: 600 words of one letter take FTS5 two milliseconds.
_WINDOW: Final = 1200
# The overlap of adjacent windows, so that few phrases are split.
_OVERLAP: Final = 300
_SEARCH_FOR_SPACE: Final = 64
_MARK: Final = re.compile(f"([{BEGIN}{END}])")
_MARKED: Final = re.compile(f"{BEGIN}([^{END}]*){END}")
# The number of positions of a term to try in a window.
_TRIES: Final = 200


#: The text, and the start and end of each hit.
Snippet = tuple[str, list[tuple[int, int]]]


class Window(NamedTuple):
    """A part of a text, and its folded form."""

    text: str
    folded: str
    #: Whether text precedes and follows it.
    is_after: bool
    is_before: bool


def find_window(text: str, terms: Sequence[Term]) -> Window:
    """Find the first window with all terms, else the first with most of them.

    The time is linear in the length of the text.
    """
    wanted = [(_words(term.words), term.is_prefix) for term in terms]
    best, most = Window("", "", False, False), -1
    for start, end in _windows(text):
        part = text[start:end]
        folded = fold(part).replace("\0", " ")
        lower = folded.lower()
        found = sum(_holds(lower, words, is_prefix) for words, is_prefix in wanted)
        if found > most:
            best, most = Window(part, folded, start > 0, end < len(text)), found
        if found == len(wanted):
            break
    return best


def read_snippet(window: Window, snippet: str) -> Snippet:
    """Convert FTS5's snippet of a folded window to original text and the positions of the hits."""
    within = snippet.strip(LEFT_OUT)
    start = window.folded.find(within.replace(BEGIN, "").replace(END, ""))
    trace = Trace(window.text)
    places, at = list[tuple[int, str]](), start
    for part in _MARK.split(within):
        if part == BEGIN:
            places.append((trace.start_of(at), part))
        elif part == END:
            places.append((trace.end_of(at), part))
        else:
            at += len(part)
    begin, end = trace.start_of(start), trace.end_of(at)
    is_after = snippet.startswith(LEFT_OUT) or window.is_after
    is_before = snippet.endswith(LEFT_OUT) or window.is_before
    written, last = ["…" if is_after else ""], begin
    for place, mark in places:
        written += [_without_marks(window.text[last:place]), mark]
        last = max(last, place)
    written += [_without_marks(window.text[last:end]), "…" if is_before else ""]
    return _unmark("".join(written))


def _windows(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while True:
        end = _place_to_part(text, start + _WINDOW)
        yield start, end
        if end >= len(text):
            return
        start = _place_to_part(text, end - _OVERLAP)


def _place_to_part(text: str, place: int) -> int:
    """Return where to split a text from a position on: after a word, if one ends soon."""
    if place >= len(text):
        return len(text)
    space = text.find(" ", place, place + _SEARCH_FOR_SPACE)
    if space >= 0:
        return space
    while place < len(text) and not can_part(text[place]):
        place += 1
    return place


def _words(text: str) -> list[str]:
    """Split a folded term into words as the tokenizer does."""
    return "".join(c if is_of_word(c) else " " for c in text.lower()).split()


def _holds(text: str, words: list[str], is_prefix: bool) -> bool:
    """Whether a short text holds words in this order; an approximation that may be wrong."""
    if not words:
        return False
    at = -1
    for _ in range(_TRIES):
        at = text.find(words[0], at + 1)
        if at < 0:
            return False
        if not (at and is_of_word(text[at - 1])) and _follow(text, at, words, is_prefix):
            return True
    return False


def _follow(text: str, at: int, words: list[str], is_prefix: bool) -> bool:
    for number, word in enumerate(words):
        while number and at < len(text) and not is_of_word(text[at]):
            at += 1
        if not text.startswith(word, at):
            return False
        at += len(word)
        is_last = number == len(words) - 1
        if at < len(text) and is_of_word(text[at]) and not (is_last and is_prefix):
            return False
    return True


def _without_marks(text: str) -> str:
    return text.replace(BEGIN, " ").replace(END, " ")


def _unmark(marked: str) -> Snippet:
    """Remove the marks from a snippet; returns the plain text and the positions of marked words."""
    text = " ".join(marked.split())
    text = text.replace(END + BEGIN, "")  # neighbours in a phrase of one-character words
    plain, highlights, end = "", list[tuple[int, int]](), 0
    for match in _MARKED.finditer(text):
        plain += text[end : match.start()]
        highlights.append((len(plain), len(plain) + len(match[1])))
        plain += match[1]
        end = match.end()
    return plain + text[end:], highlights
