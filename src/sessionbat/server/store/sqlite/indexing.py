"""What is made behind ingestion, a step at a time: the text index and the statistics.

``Follower`` calls ``step`` in a thread of its own; ``rebuild`` and tests call it, too.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sessionbat.server.store.sqlite import rollups, text_index
from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Readers
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.indexer_thread import STEP
from sessionbat.server.store.sqlite.payloads import PayloadReader
from sessionbat.server.store.sqlite.recent_rows import RecentRows, recent_texts
from sessionbat.server.store.sqlite.writer import Writer

_STEPS_BETWEEN_STATISTICS: Final = 16


class Indexing:
    """Brings what is derived up to date, in short transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.has_text_index = text_index.has_fts5(connection)
        self.recent_texts = recent_texts()
        self._recent_rows = RecentRows[EventRow]()
        self._payloads = PayloadReader()
        self._steps = 0

    def note(self, inserted: Inserted) -> None:
        """Remember what was stored a moment ago; the caller holds the writer's lock."""
        if self.has_text_index:
            self.recent_texts.add(inserted.texts)
        self._recent_rows.add(inserted.rows)

    def forget(self) -> None:
        """Read from the disk what is next."""
        self.recent_texts.forget()
        self._recent_rows.forget()

    def step(self, writer: Writer) -> bool:
        """Do one transaction's worth; True when nothing is left to do."""
        with writer.transaction(keeps_known=True, is_durable=False, grows=True) as connection:
            is_done = not self.has_text_index or text_index.follow(
                connection, self._payloads, self.recent_texts, STEP
            )
            # Not each time: most of the work is to read and write a rollup, however many events
            # it is for.
            self._steps = (self._steps + 1) % _STEPS_BETWEEN_STATISTICS
            if is_done or not self._steps:
                limit = STEP * _STEPS_BETWEEN_STATISTICS
                is_done = rollups.follow(connection, self._recent_rows, limit) and is_done
        return is_done and writer.give_back_space()

    def count_behind(self, readers: Readers) -> int:
        """Count the events that are not in everything yet."""
        with readers.lend() as reader:
            (count,) = reader.connection.execute(
                "SELECT count(*) FROM events WHERE id > (SELECT min(up_to) FROM progress"
                " WHERE name = 'statistics' OR ?)",
                (self.has_text_index,),
            ).fetchone()
            return int(count)
