"""Frees disk space: merges the text index, truncates unused pages, empties the log.

Each runs in short steps that let others write in between, and in an order that works on a nearly
full disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sessionbat.errors import StoreError
from sessionbat.server.store.sqlite import text_index
from sessionbat.server.store.sqlite.connections import Readers
from sessionbat.server.store.sqlite.health import Health
from sessionbat.server.store.sqlite.writer import Writer

_PAGES_MERGED: Final = 250  # of the text index, 1 MB, some 50 ms
_INDEX_PAGE_BYTES: Final = 4096


class Compaction:
    """Makes the file smaller.

    Args:
        writer: Writes to the file.
        readers: Read from the same file.
        health: Tells whether the disk has room.
    """

    def __init__(self, writer: Writer, readers: Readers, health: Health) -> None:
        self._writer = writer
        self._readers = readers
        self._health = health

    def compact(self, on_progress: Callable[[int, int], None]) -> bool:
        """Free disk space; see ``Upkeep.compact``."""
        is_merged = True
        with self._giving_back_first():
            try:
                self._merge_text_index(on_progress)
            except StoreError as exc:
                if exc.slug != "store-full":
                    raise
                is_merged = False  # what can be given back without it still is
        self._give_back_all_space()
        return self._writer.empty_log() and is_merged

    @contextmanager
    def sparing_room(self) -> Iterator[None]:
        """Keep the log short while the block runs, if the disk is nearly full."""
        if not self._health.lacks_room():
            yield
            return
        self._set_merging(is_on=False)
        try:
            yield
        finally:
            with suppress(StoreError):
                self._give_back_all_space()
                self._writer.empty_log()
                self._set_merging(is_on=True)

    @contextmanager
    def _giving_back_first(self) -> Iterator[None]:
        """Free pages without overwriting them while the block runs, if the disk is nearly full.

        Overwriting would write all pages of a merge to the log. They are truncated afterwards.
        """
        if not self._health.lacks_room(beside=2 * self._index_pages() * _INDEX_PAGE_BYTES):
            yield
            return
        self._give_back_all_space()
        self._writer.empty_log()
        self._writer.set_overwriting("FAST")
        try:
            yield
        finally:
            self._writer.set_overwriting("ON")

    def _merge_text_index(self, on_progress: Callable[[int, int], None]) -> None:
        total = self._index_pages()
        done, is_done = 0, False
        while not is_done:
            self._writer.empty_log_if_needed()
            with self._writer.short_step(), self._writer.transaction() as connection:
                is_done = text_index.merge(connection, _PAGES_MERGED, begin=not done)
            done += _PAGES_MERGED
            on_progress(min(done, total), total)
        on_progress(total, total)

    def _index_pages(self) -> int:
        with self._readers.lend() as reader:
            return text_index.size_in_pages(reader.connection)

    def _set_merging(self, *, is_on: bool) -> None:
        with self._writer.transaction() as connection:
            text_index.set_merging(connection, is_on=is_on)

    def _give_back_all_space(self) -> None:
        while True:
            with self._writer.short_step():
                if self._writer.give_back_space(least_part=0):
                    break
