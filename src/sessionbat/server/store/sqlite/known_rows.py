"""Rows that the writer has seen, so that it need not ask the database for them with every event.

Good for as long as only the writer writes: whoever rolls back, deletes or finds that another
connection has written calls ``forget``. Used by one thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sessionbat.server.reading.figures import Label

# Some megabytes; a session that goes on is soon known again.
_MAX_ENTRIES: Final = 40_000


@dataclass(slots=True)
class KnownSession:
    """A session's row number, and which of what belongs to it is there."""

    row: int
    #: Whether nothing belongs to it but what is named here.
    is_whole: bool
    #: Interaction ids and their row numbers.
    interactions: dict[str, int] = field(default_factory=dict)
    #: Sets of labels as events bring them: an event's is compared as a whole first.
    label_sets: set[frozenset[Label]] = field(default_factory=set)
    labels: set[Label] = field(default_factory=set)


class KnownRows:
    """What is known to be there, by what it is asked for; bounded by ``trim``."""

    def __init__(self) -> None:
        self.apps: dict[str, int] = {}
        self.labels: dict[tuple[int, Label], int] = {}
        self.sessions: dict[tuple[int, str], KnownSession] = {}
        #: How much was added, by whoever adds.
        self.entries = 0

    def trim(self) -> None:
        """Forget when it has become much; between transactions, which count on what they know."""
        if self.entries > _MAX_ENTRIES:
            self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self.apps.clear()
        self.labels.clear()
        self.sessions.clear()
        self.entries = 0
