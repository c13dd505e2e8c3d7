"""Finds a session's title: its user's first words, as one line.

Read once from each event on arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat.event import LLM, RETRIEVAL
from sessionbat.server.reading.chat import first_words_of_user

MAX_CHARACTERS: Final = 90

#: The rank of words as a session's title; the higher one wins.
SAID: Final = 2
SEARCHED: Final = 1
NONE: Final = 0
BEST: Final = SAID


def first_words(observation: Mapping[str, Any]) -> tuple[int, str]:
    """Find the user's first words in a model call, or the query of a retrieval.

    Returns:
        Its rank as a title (``SAID``, ``SEARCHED``, ``NONE``), and the words in one line.
    """
    kind, given = observation["kind"], observation.get("input")
    if kind == LLM:
        words = _one_line(first_words_of_user(given))
        return (SAID, words) if words else (NONE, "")
    if kind == RETRIEVAL and isinstance(given, dict) and isinstance(given.get("query"), str):
        words = _one_line(given["query"])
        return (SEARCHED, words) if words else (NONE, "")
    return NONE, ""


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * MAX_CHARACTERS].split())  # nearly always enough
    if len(line) <= MAX_CHARACTERS:
        line = " ".join(text[: 8 * MAX_CHARACTERS].split())
    if len(line) <= MAX_CHARACTERS:
        return line
    line = line[:MAX_CHARACTERS]
    space = line.rfind(" ", MAX_CHARACTERS * 3 // 4)
    return (line if space < 0 else line[:space].rstrip(",:; ")) + "…"
