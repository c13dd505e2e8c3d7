"""What is made of events behind ingestion, and can be made anew from them at any time.

A further one is a file, and a line in ``make_derived``: the store keeps it up to date, takes
deleted events out of it, empties it for a rebuild and measures how far it is behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.rollups import Statistics
from sessionbat.server.store.sqlite.text_index import TextIndex


class Derived(Protocol):
    """One thing that is derived. Everything is called with the writer's connection and lock."""

    @property
    def name(self) -> str:
        """The name of its row in ``progress``, which says up to which event it has come."""

    @property
    def is_followed(self) -> bool:
        """Whether it is made here at all; known after ``create``."""

    @property
    def steps_at_once(self) -> int:
        """How many steps' events it likes to take together, while something else is behind."""

    def create(self, connection: sqlite3.Connection) -> None:
        """Make what it lies in, where that is missing; outside any transaction."""

    def note(self, inserted: Inserted) -> None:
        """Remember what was stored a moment ago, if that saves reading it."""

    def forget(self) -> None:
        """Remember nothing: what was noted may not be true any more."""

    def follow(self, connection: sqlite3.Connection, limit: int) -> bool:
        """Add up to ``limit`` further events and ``advance``; say if all are in."""

    def weigh(self, connection: sqlite3.Connection, event: EventRow) -> int:
        """Say how much of a deletion's step it takes to subtract an event, in characters."""

    def subtract(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Take out events that ``follow`` has added, before their rows are deleted."""

    def empty(self, connection: sqlite3.Connection) -> None:
        """Take everything out; also before ``create``, while a schema is changed."""


def make_derived() -> list[Derived]:
    """List everything derived; each step serves the first before the others."""
    return [TextIndex(), Statistics()]
