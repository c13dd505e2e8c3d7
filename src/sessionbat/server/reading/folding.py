"""Folds texts and queries to a common form for the search index.

Folding ignores width, composition, accents and vowel marks. An emoji is a word. In scripts without
spaces, and in those that attach endings to nouns, each character is a word. Any change here has to
change FOLDING too, so that existing indexes are made again.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

#: Identifies the folding rules of an index: our version, and that of Python's Unicode tables.
FOLDING: Final = f"2/{unicodedata.unidata_version}"

#: Inserted between characters that are words of their own; tokenizers split words at it.
JOINER: Final = "\u2060"

_RUN: Final = re.compile(r"[^\x00-\x7f]+")
# The control characters that mark highlights in a snippet; spaces replace them in all text.
_MARKS_OF_SNIPPETS: Final = {1: " ", 2: " ", 3: " "}

#: Accents and vowel signs that are optional in writing, and invisible characters. The breve of й
#: and ў and the dots of ї make separate letters; those of ё do not.
_UNWRITTEN: Final = re.compile(
    "(?<![\u0438\u0418\u0443\u0423])\u0306|(?<![\u0456\u0406])\u0308"
    "|[\u0300-\u0305\u0307\u0309-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\xad\u200d\u2060\ufe00-\ufe0f"  # soft hyphen, joiners, variation selectors
    "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef]"  # skin tones, tags
)
#: Letters that Unicode does not decompose, but that people type as several letters.
_SPELLINGS: Final = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ħ": "h",
        "ŧ": "t",
        "ı": "i",
        "ٱ": "ا",
        "ى": "ي",
        "ی": "ي",
        "ک": "ك",
        "ة": "ه",
        **{chr(first + n): str(n) for first in (0x0660, 0x06F0) for n in range(10)},
    }
)
_HAS_SPELLINGS: Final = re.compile(f"[{''.join(map(chr, _SPELLINGS))}]")
# Decompose into letters, which would join the word before them.
_SIGNS: Final = re.compile("[\u2120-\u2122]")
#: Chinese, Japanese, Korean, Thai, Lao, Burmese, Khmer.
_UNSPACED: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u318f\u31f0-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_EMOJI: Final = re.compile(
    "[\u231a-\u23ff\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07"
    "\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
)
# Tokenizers ignore symbols but index private-use characters, so emoji are mapped to those.
_PRIVATE: Final = 0xE000
_WORDS_OF_EMOJI: Final = re.compile("[\ue000-\uf8ff]")


def fold(text: str) -> str:
    """Fold a text for the index; the result may differ in length and is never shown."""
    if text.isascii():
        return text.translate(_MARKS_OF_SNIPPETS) if _has_marks(text) else text
    return _RUN.sub(_fold_match, text.translate(_MARKS_OF_SNIPPETS) if _has_marks(text) else text)


def can_part(character: str) -> bool:
    """Whether a text can be split before this character without changing how it folds."""
    return not _extends(character)


def holds_word(folded: str) -> bool:
    """Whether a folded text holds a word: a letter, a digit or an emoji."""
    return any(map(str.isalnum, folded)) or bool(_WORDS_OF_EMOJI.search(folded))


def first_words(folded: str, most: int) -> tuple[str, int]:
    """Cut a folded text after a number of words; returns it with the number of words in it."""
    count, is_inside = 0, False
    for place, character in enumerate(folded):
        was_inside, is_inside = is_inside, is_of_word(character)
        if is_inside and not was_inside:
            if count == most:
                return folded[:place].rstrip(), count
            count += 1
    return folded, count


def different_words_end(folded: str, most: int) -> int:
    """Return where a folded text has its first different word beyond ``most``; else its length."""
    # One character for each, so positions are those of the text.
    words = folded.translate(_WORD_CHARACTERS)
    different = dict.fromkeys(words.split())  # in the order in which they come first
    if len(different) <= most:
        return len(folded)
    beyond = next(islice(different, most, None))
    return f" {words} ".find(f" {beyond} ")  # all that parts words has become a space


def is_of_word(character: str) -> bool:
    """Whether a character belongs to a word as the index's tokenizer sees it."""
    category = unicodedata.category(character)
    return category[0] in "LNM" or category == "Co"


class _WordCharacters(dict[int, int]):
    """Maps characters as the index's tokenizer does: to a lower-case letter, or to a space."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        small = character.lower() if is_of_word(character) else " "
        made = ord(small) if len(small) == 1 else code
        if len(self) < _KEPT_CHARACTERS:
            self[code] = made
        return made


_KEPT_CHARACTERS: Final = 10_000
_WORD_CHARACTERS: Final = _WordCharacters()


def _has_marks(text: str) -> bool:
    return "\x02" in text or "\x03" in text or "\x01" in text


def _fold_match(match: re.Match[str]) -> str:
    run = match[0]
    # Most of Western text is a few accents and quotation marks, again and again.
    return _fold_short(run) if len(run) <= _SHORT else _fold_run(run)


_SHORT: Final = 4


def _fold_run(run: str) -> str:
    """Fold non-ASCII characters; runs fold the same together and separately."""
    text = _SIGNS.sub(" ", run)
    text = _UNWRITTEN.sub("", unicodedata.normalize("NFKD", text)).casefold()
    text = unicodedata.normalize("NFC", text)  # syllables, and the letters whose marks were kept
    if _HAS_SPELLINGS.search(text):
        text = text.translate(_SPELLINGS)
    text = _EMOJI.sub(_emoji_word, text)
    return "".join(
        # A match in parentheses is a piece, too, so each is between two joiners. Some at a time, as
        # no other thread runs meanwhile; and a template is expanded in Python, for 4 times as long.
        JOINER.join(_UNSPACED.split(text[start : start + _AT_ONCE]))
        for start in range(0, len(text), _AT_ONCE)
    )


_AT_ONCE: Final = 16 * 1024


_fold_short = lru_cache(4096)(_fold_run)


def _emoji_word(match: re.Match[str]) -> str:
    code = ord(match[0])
    place = code - 0x1F000 if code >= 0x1F000 else code - 0x2300 + 0xB00
    return f"{JOINER}{chr(_PRIVATE + place)}{JOINER}"


class Trace:
    """Maps positions in a folded text back to the original text."""

    def __init__(self, text: str) -> None:
        self._text = text
        #: The start of each piece, in the folded form and in the text.
        self._folded_starts: list[int] = []
        self._starts: list[int] = []
        length = 0
        for start, end in _pieces(text):
            self._folded_starts.append(length)
            self._starts.append(start)
            length += len(fold(text[start:end]))
        self._starts.append(len(text))

    def start_of(self, place: int) -> int:
        """Return where the original character begins that produced this folded position."""
        start, end, left = self._piece_at(place)
        if self._text[start:end].isascii():
            return start + left
        for cluster in _clusters(self._text, start, end):
            left -= len(fold(self._text[cluster[0] : cluster[1]]))
            if left < 0:
                return cluster[0]
        return end

    def end_of(self, place: int) -> int:
        """Return where the original character, with its marks, ends that produced this position."""
        start = self.start_of(max(0, place - 1))
        end = start + 1
        while end < len(self._text) and _extends(self._text[end]):
            end += 1
        return min(end, len(self._text))

    def _piece_at(self, place: int) -> tuple[int, int, int]:
        number = max(0, bisect_right(self._folded_starts, place) - 1)
        if not self._folded_starts:
            return 0, 0, 0
        start, end = self._starts[number], self._starts[number + 1]
        return start, end, place - self._folded_starts[number]


_PIECE: Final = 256


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Split a text into ASCII and other runs; long runs are split between characters."""
    last = 0
    for match in _RUN.finditer(text):
        start, run_end = match.span()
        if start > last:
            yield last, start
        while start < run_end:
            end = min(run_end, start + _PIECE)
            while end < run_end and _extends(text[end]):
                end += 1
            yield start, end
            start = end
        last = run_end
    if last < len(text):
        yield last, len(text)


def _clusters(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a piece into characters with their marks."""
    while start < end:
        after = start + 1
        while after < end and _extends(text[after]):
            after += 1
        yield start, after
        start = after


def _extends(character: str) -> bool:
    """Whether a character combines with the one before it: a mark, or part of a syllable."""
    if character.isascii():
        return False
    code = ord(character)
    return (
        unicodedata.category(character)[0] == "M"
        or 0x1160 <= code <= 0x11FF
        or 0xD7B0 <= code <= 0xD7FF
        or 0x1F3FB <= code <= 0x1F3FF
        or code in (0x200D, 0xFF9E, 0xFF9F)
        or 0xFFA0 <= code <= 0xFFDC
    )
