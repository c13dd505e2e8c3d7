"""Brings derived data up to date, a step at a time.

``Follower`` calls ``step`` in a thread of its own; a rebuild calls it too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Readers
from sessionbat.server.store.sqlite.derived import Derived
from sessionbat.server.store.sqlite.indexer_thread import STEP
from sessionbat.server.store.sqlite.progress import begin, behind
from sessionbat.server.store.sqlite.writer import Writer


class Indexing:
    """All derived data of a store; called with the writer's lock held, except where noted.

    Args:
        derived: In order of priority.
    """

    def __init__(self, derived: Sequence[Derived]) -> None:
        self._derived = derived
        self._followed: list[Derived] = []
        self._steps = 0

    @property
    def followed(self) -> list[str]:
        """The names of the derived data that this store maintains."""
        return [each.name for each in self._followed]

    def create(self, connection: sqlite3.Connection) -> None:
        """Create the tables of each that are missing."""
        for each in self._derived:
            begin(connection, each.name)
            each.create(connection)
        self._followed = [each for each in self._derived if each.is_followed]

    def note(self, inserted: Inserted) -> None:
        """Pass rows that were just stored to each."""
        for each in self._followed:
            each.note(inserted)

    def forget(self) -> None:
        """Have each drop its noted rows and read from disk."""
        for each in self._derived:
            each.forget()

    def step(self, writer: Writer, readers: Readers) -> bool:
        """Do one transaction's worth of work; True when nothing is left. Takes the lock itself."""
        self._steps += 1
        is_done = True
        for each in self._followed:
            each.read_ahead(readers, STEP)
        with writer.transaction(
            keeps_known=True, foreign_keys=None, is_durable=False, grows=True
        ) as connection:
            for each in self._followed:
                if is_done or self._steps % each.steps_at_once == 0:
                    is_done = each.follow(connection, STEP * each.steps_at_once) and is_done
        return is_done and writer.give_back_space()

    def count_behind(self, readers: Readers) -> int:
        """Count the events that are missing from some derived data; needs no lock."""
        with readers.lend() as reader:
            return behind(reader.connection, self.followed).events
