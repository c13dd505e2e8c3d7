"""Extracts the searchable text of an event, and parses search queries; independent of the index.

Searchable are the strings and numbers in input, output and error, a tool's name, and the words of
feedback; object keys, ids, context and metadata are not. Text and query are both folded before they
are compared: see ``reading/folding``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from sessionbat.event import FEEDBACK
from sessionbat.server.reading.feedback import feedback_words
from sessionbat.server.reading.folding import (
    different_words_end,
    first_words,
    fold,
    holds_word,
)

MAX_TERMS: Final = 32
#: Words of a query, in all its terms: each is looked up at each place of the first of its phrase,
#: in a step that nothing interrupts. Where an event repeats them, 64 take half a second, 200 a
#: minute.
MAX_WORDS: Final = 64
#: Characters of one event that are searched; an index step can be no shorter than one event.
MAX_CHARACTERS: Final = 1024 * 1024
#: Different words of one event that are indexed: each makes an entry, written while nobody else can
#: write. 25,000 take 25 to 45 ms of a processor; 150,000 took a quarter of a second.
MAX_DIFFERENT_WORDS: Final = 25_000

_SEARCHED: Final = ("name", "input", "output", "error")
_MAX_DEPTH: Final = 64
# Encoded bytes hold no words, and each would be a word of its own in the index.
_ENCODED = re.compile(r"(?:data:[\w/+.;-]*,)?[A-Za-z0-9+/_-]{256}")
_TERMS = re.compile(r'"([^"]*)"?|(\S+)')


class Term(NamedTuple):
    """A word, or a phrase of adjacent words."""

    words: str
    #: The last word may go on.
    is_prefix: bool


def text_of(event: Mapping[str, Any]) -> str:
    """Return the searchable text of a decoded event, not folded; deterministic."""
    if event.get("type") == FEEDBACK:
        return _text_of_all(feedback_words(event), 0)
    observation = event.get("observation")
    if not isinstance(observation, dict):
        return ""
    return _text_of_all([*map(observation.get, _SEARCHED)], _MAX_DEPTH - 1)


def text_of_parts(raw: bytes, messages: Iterable[bytes]) -> str:
    """Return the searchable text from an event's JSON without messages and each message's JSON."""
    try:
        texts = [text_of(orjson.loads(raw))]
        size = len(texts[0])
        for message in messages:
            if size >= MAX_CHARACTERS:
                break
            texts.append(text_in(orjson.loads(message)))
            size += len(texts[-1])
        return "\n".join(texts)[:MAX_CHARACTERS]
    except orjson.JSONDecodeError:
        return ""  # stored by a store's user that is not ingestion; it must not stop the others


def text_in(value: Any) -> str:
    """Return the text of any JSON value."""
    return _text_of_all([value], _MAX_DEPTH)


def _text_of_all(values: list[Any], levels: int) -> str:
    texts = _Texts()
    _collect(values, texts, levels)
    # Each is a character at least, and what is not searched need not be joined: the 32 MB of a
    # body are 128 MB where one of the texts has an emoji.
    is_long = sum(map(len, texts)) > MAX_CHARACTERS
    return "\n".join(_first_of(texts) if is_long else texts)[:MAX_CHARACTERS]


class _Texts(list[str]):
    """Collected texts, and how many characters of them are long lists of numbers."""

    of_numbers = 0


def _first_of(texts: list[str]) -> list[str]:
    """Return the leading texts, up to the limit of searchable text."""
    left, first = MAX_CHARACTERS, list[str]()
    for each in texts:
        if left <= 0:
            break
        first.append(each[:left])
        left -= len(each)
    return first


class Indexed(NamedTuple):
    """The text of an event as it is indexed."""

    text: str
    #: Whether that is the whole text; False also for a text of exactly ``MAX_CHARACTERS``.
    is_whole: bool


def indexed(text: str) -> Indexed:
    """Return the indexed form of a searchable text; folding may make it longer."""
    folded = fold(text)
    if len(folded) <= 2 * MAX_DIFFERENT_WORDS:  # each word takes a character and a separator
        return Indexed(folded, True)
    first = folded[:MAX_CHARACTERS]
    end = different_words_end(first, MAX_DIFFERENT_WORDS)
    return Indexed(first[:end], end == len(folded) and len(text) < MAX_CHARACTERS)


def parse_query(query: str) -> list[Term]:
    """Parse a query into words, ``"phrases"`` and ``prefix*``, all of which have to match.

    No query is an error: terms without a letter, digit or emoji are dropped, an open quotation mark
    closes at the end, and terms beyond ``MAX_TERMS`` and words beyond ``MAX_WORDS`` are ignored.
    """
    terms: list[Term] = []
    words_left = MAX_WORDS
    for match in _TERMS.finditer(query):
        phrase, word = match.groups()
        words = fold(phrase if phrase is not None else word)
        words = words.replace("\x00", " ").replace('"', " ")  # a wide mark has become one, too
        if not holds_word(words):
            continue
        first, count = first_words(words, words_left)
        is_prefix = phrase is None and word.endswith("*") and first == words
        terms.append(Term(first, is_prefix))
        words_left -= count
        if not words_left or len(terms) == MAX_TERMS:
            break
    return terms


def _collect(container: Any, texts: _Texts, levels: int) -> None:
    """Collect the texts in a container, down to a depth."""
    # A list to append to and a call a container, not a generator; and types compared, of which JSON
    # has seven: two thirds of the time that it takes otherwise.
    if len(container) >= _MANY and type(container) is list and _are_numbers(container):
        # Embeddings, token ids: a third of the time that a text for each takes. Not all at once, as
        # no other thread runs meanwhile.
        for start in range(0, len(container), _AT_ONCE):
            if texts.of_numbers > MAX_CHARACTERS:
                break  # what follows is not searched
            texts.append("\n".join(map(str, container[start : start + _AT_ONCE])))
            texts.of_numbers += len(texts[-1])
        return
    for value in container.values() if type(container) is dict else container:
        kind = type(value)
        if kind is str:
            if value and (len(value) < 256 or not _ENCODED.match(value)):
                texts.append(value)
        elif kind is dict or kind is list:
            if levels:
                _collect(value, texts, levels - 1)
        elif kind is int or kind is float:
            texts.append(str(value))


def _are_numbers(values: list[Any]) -> bool:
    return {*map(type, values)} <= _NUMBERS


_NUMBERS: Final = {int, float}
_MANY: Final = 16
_AT_ONCE: Final = 4096
