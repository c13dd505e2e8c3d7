"""Limits on the payload that a page shows: for one observation, and for the page as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sessionbat.server.pages.view.json_text import Clipped, JsonText, clip, print_json
from sessionbat.server.reading.json_values import MAX_EVENT_VALUES, MAX_SHOWN_VALUES


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on how much of an observation is shown; the rest is counted and linked."""

    characters: int
    lines: int
    messages: int
    documents: int
    #: Characters of payload on a whole page; beyond them texts shrink.
    page_characters: int
    #: JSON values that a whole page, and one event on it, keeps in memory.
    page_values: int = 400_000
    event_values: int = MAX_SHOWN_VALUES


ON_A_PAGE: Final = Limits(
    characters=8_000, lines=80, messages=20, documents=20, page_characters=1_200_000
)
IN_FULL: Final = Limits(
    characters=1_000_000,
    lines=50_000,
    messages=10_000,
    documents=10_000,
    page_characters=10**8,
    event_values=MAX_EVENT_VALUES,
)
#: Only the question and answer of each turn, without any payloads.
WORDS_ONLY: Final = Limits(
    characters=1_000_000, lines=0, messages=0, documents=0, page_characters=10**8
)


class Room:
    """The characters of payload that a page can still show; once used up, texts are cut shorter."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._left = limits.page_characters

    def clip(self, text: str) -> Clipped:
        """Cut a text to the limit for one text."""
        clipped = clip(text, self._allowed(self.limits.characters, 200))
        self._left -= len(clipped.text)
        return clipped

    def print(self, value: Any) -> JsonText:
        """Print a JSON value, cut to the limit for one value."""
        printed = print_json(
            value,
            max_lines=self._allowed(self.limits.lines, 8),
            max_characters=self._allowed(self.limits.characters, 200),
        )
        self._left -= sum(len(line.text) + len(line.key) + 40 for line in printed.lines)
        return printed

    def _allowed(self, roomy: int, tight: int) -> int:
        return roomy if self._left > 0 else min(roomy, tight)
