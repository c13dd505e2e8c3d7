"""The writer's cache of rows that exist, which saves looking them up with every event.

It is valid only while nobody else writes: a rollback, a deletion, or a write by another connection
has to call ``forget``. Used by one thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sessionbat.server.reading.figures import Label

# Some megabytes; active sessions are soon in the cache again.
_MAX_ENTRIES: Final = 40_000


@dataclass(slots=True)
class KnownSession:
    """A session's row number, and its known labels and interactions."""

    row: int
    #: Whether the labels and interactions below are complete.
    is_whole: bool
    #: Interaction ids and their row numbers.
    interactions: dict[str, int] = field(default_factory=dict)
    #: Label sets of earlier events; an event's whole set is looked up here first.
    label_sets: set[frozenset[Label]] = field(default_factory=set)
    labels: set[Label] = field(default_factory=set)


class KnownRows:
    """The known rows by their keys; bounded by ``trim``."""

    def __init__(self) -> None:
        self.apps: dict[str, int] = {}
        self.labels: dict[tuple[int, Label], int] = {}
        self.sessions: dict[tuple[int, str], KnownSession] = {}
        #: The number of entries; updated by the code that adds them.
        self.entries = 0

    def trim(self) -> None:
        """Clear the cache if it is large; only between transactions, which rely on it."""
        if self.entries > _MAX_ENTRIES:
            self.forget()

    def forget(self) -> None:
        """Clear the cache."""
        self.apps.clear()
        self.labels.clear()
        self.sessions.clear()
        self.entries = 0
