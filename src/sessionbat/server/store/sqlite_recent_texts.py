"""Texts of events that were stored a moment ago, kept until they are indexed.

Indexing would otherwise read, inflate and parse what ingestion had in its hands a moment before.
Only a short cut: what is not here is read from the disk. Used by one thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

#: Characters kept at most; what is beyond is read from the disk.
_MAX_CHARACTERS: Final = 16 * 1024 * 1024


class IndexedText(NamedTuple):
    """What of an event goes into the text index."""

    number: int
    app: int
    text: str


class RecentTexts:
    """Texts in the order of their events' numbers, without gaps."""

    def __init__(self) -> None:
        self._texts: deque[IndexedText] = deque()
        self._characters = 0

    def add(self, texts: Sequence[IndexedText]) -> None:
        """Keep texts of events that are committed, each numbered one above that before it."""
        if not texts:
            return
        if self._texts and self._texts[-1].number + 1 != texts[0].number:
            self.forget()
        self._texts.extend(texts)
        self._characters += sum(len(each.text) for each in texts)
        if self._characters > _MAX_CHARACTERS:
            self.forget()

    def first(self) -> int | None:
        """Give the number of the first event that is here; None when none is."""
        return self._texts[0].number if self._texts else None

    def take(self, after: int, limit: int, max_characters: int) -> list[IndexedText]:
        """Take the texts of the first events numbered above ``after``; older ones are dropped."""
        taken: list[IndexedText] = []
        characters = 0
        while self._texts and len(taken) < limit and characters < max_characters:
            text = self._texts.popleft()
            self._characters -= len(text.text)
            if text.number > after:
                taken.append(text)
                characters += len(text.text)
        return taken

    def forget(self) -> None:
        """Drop all."""
        self._texts.clear()
        self._characters = 0
