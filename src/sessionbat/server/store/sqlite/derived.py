"""Derived data: made from events behind ingestion, and rebuilt from them at any time.

To add a kind of derived data, add a file and a line in ``make_derived``: the store keeps it up to
date, subtracts deleted events, empties it for a rebuild and measures how far it is behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Reader, Readers
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.rollups import Statistics
from sessionbat.server.store.sqlite.text_index import TextIndex


class Derived(Protocol):
    """One kind of derived data. All methods are called with the writer's connection and lock."""

    @property
    def name(self) -> str:
        """The name of its row in ``progress``, which records the last event that is in it."""

    @property
    def is_followed(self) -> bool:
        """Whether this store maintains it; known after ``create``."""

    @property
    def steps_at_once(self) -> int:
        """The number of steps to combine while other derived data is behind."""

    def create(self, connection: sqlite3.Connection) -> None:
        """Create its tables if they are missing; called outside any transaction."""

    def note(self, inserted: Inserted) -> None:
        """Keep rows that were just stored, if that saves reading them."""

    def forget(self) -> None:
        """Drop everything noted; it may be outdated."""

    def read_ahead(self, readers: Readers, limit: int) -> None:
        """Read what ``follow`` lacks of up to ``limit`` events. Called without the lock."""

    def follow(self, connection: sqlite3.Connection, limit: int) -> bool:
        """Add up to ``limit`` further events and ``advance``; return whether all are added.

        Adds nothing if ``read_ahead`` has to run first.
        """

    def weigh(self, reader: Reader, event: EventRow) -> int:
        """Return the cost of subtracting an event, in characters; bounds a deletion step.

        Called without the lock, before the step. It may keep what it reads for ``subtract``.
        """

    def subtract(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Subtract events that ``follow`` has added, before their rows are deleted."""

    def restore(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Put events in again that were subtracted, as they are now.

        Called after each revision of stored events, also with none: texts may have changed.
        """

    def empty(self, connection: sqlite3.Connection) -> None:
        """Delete all of it; also called before ``create``, during a migration."""


def make_derived() -> list[Derived]:
    """List all derived data, by priority: each step serves the first before the others."""
    return [TextIndex(), Statistics()]
