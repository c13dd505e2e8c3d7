"""The text index: FTS5 without a copy of the text, filled behind ingestion.

Texts that are not in memory are read before the lock is taken: decoding an event may take longer
than indexing it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from sessionbat.errors import StoreError
from sessionbat.server.reading.folding import FOLDING
from sessionbat.server.store.query_terms import (
    MAX_CHARACTERS,
    MAX_DIFFERENT_WORDS,
    Indexed,
    indexed,
    text_of_parts,
)
from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Reader, Readers
from sessionbat.server.store.sqlite.event_rows import EventRow
from sessionbat.server.store.sqlite.payloads import MAX_MESSAGES, PayloadReader
from sessionbat.server.store.sqlite.progress import advance, progress_of
from sessionbat.server.store.sqlite.recent_rows import IndexedText, recent_texts

#: The text of one transaction, unless one event has more: bounds its memory and how long it locks.
#: So many characters take 10 ms of a processor, 50 ms if no word repeats.
_MAX_CHARACTERS: Final = MAX_CHARACTERS // 4
# Seconds that a step should take to index, beside its commit, and the least text of the next one if
# it took longer. How long a text takes depends on how many different words it has and how busy the
# machine is.
_STEP_SECONDS: Final = 0.1
_MIN_CHARACTERS: Final = _MAX_CHARACTERS // 8
# Seconds after which a step reads no further event: reading one of many values takes half a second.
_READ_SECONDS: Final = 0.5

_AUTOMERGE: Final = 16
_CRISIS_MERGE: Final = 64
_NO_CRISIS: Final = 1999  # the most there is

#: Names the rules by which an event's text is indexed. An index made by other rules is rebuilt: a
#: deletion has to remove exactly the text that was indexed.
RULES: Final = f"{FOLDING}/{MAX_CHARACTERS}/{MAX_DIFFERENT_WORDS}"
# A word in `scope`, beside the app's: only the beginning of the event's text is indexed.
_IN_PART: Final = "part"
# Characters kept for deletions. A step leaves at most one text; more are left by interrupted ones.
_MOST_WEIGHED: Final = 4 * MAX_CHARACTERS
# Events indexed in part are counted up to this number.
_MOST_COUNTED: Final = 1000

# Marks that folding has left are parts of words: vowels of Devanagari, say.
TOKENIZER: Final = "tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\""

# The text first: in an index of several columns, FTS5 spends two bytes more on each word of each
# event in any but the first. scope: a word that stands for the app, so that a search within one app
# stays in the index.
_CREATE: Final = (
    f"CREATE VIRTUAL TABLE texts USING fts5(text, scope, content = '', columnsize = 0, {TOKENIZER})"
)


class TextIndex:
    """The text index as derived data; see ``Derived``.

    The time of a step decides the size of the next one, since nobody else can write meanwhile.

    Args:
        clock: Seconds.
    """

    name: Final = "text"
    steps_at_once: Final = 1

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._most = _MAX_CHARACTERS  # of the next step
        self.is_followed = False
        self.recent = recent_texts()
        self._payloads = PayloadReader()
        # The texts that a deletion removes next, and the number of their characters.
        self._weighed: dict[int, Indexed] = {}
        self._weight = 0
        # Whether texts of stored events have changed since, so that those may be old; and how often
        # they were dropped for that.
        self._has_changed = False
        self._times_dropped = 0
        # After which event the next step lacks texts, and the texts read for it.
        self._lacks: int | None = None
        self._ahead: list[IndexedText] = []
        self._is_ahead_old = False
        # One event is read at a time: 32 MB of JSON take ten times as much memory once decoded.
        self._reading = threading.Lock()

    def create(self, connection: sqlite3.Connection) -> None:
        """Create the index if it is missing or was made with an older schema or other rules."""
        self.is_followed = create_index(connection)

    def note(self, inserted: Inserted) -> None:
        """Keep the texts of events that were just stored."""
        if self.is_followed:
            self.recent.add(inserted.texts)

    def forget(self) -> None:
        """Drop the kept texts and read from disk."""
        self.recent.forget()

    def read_ahead(self, readers: Readers, limit: int) -> None:
        """Read the texts that ``follow`` lacked; see ``Derived.read_ahead``."""
        if self._lacks is None:
            return
        up_to, self._lacks = self._lacks, None
        with self._reading, readers.lend() as reader:
            until = time.monotonic() + _READ_SECONDS
            self._ahead = _read_texts(reader, up_to, limit, self._most, until)

    def follow(self, connection: sqlite3.Connection, limit: int) -> bool:
        """Index further events; see ``Derived.follow``."""
        progress = progress_of(connection, self.name)
        if progress.following is None:
            return True
        texts = self.recent.take_from(progress.following, limit, self._most) or self._still_next(
            connection, progress.up_to
        )
        if not texts:
            self._lacks = progress.up_to
            return False
        started = self._clock()
        _insert(connection, texts)
        change = min(1.5, _STEP_SECONDS / max(self._clock() - started, 1e-6))
        self._most = int(max(_MIN_CHARACTERS, min(self._most * change, _MAX_CHARACTERS)))
        last = texts[-1].id
        advance(connection, self.name, last)
        return last == progress.newest

    def weigh(self, reader: Reader, event: EventRow) -> int:
        """Count the characters of an event's text, and keep the text for ``subtract``."""
        if not self.is_followed:
            return 0
        found = self._weighed.get(event.id)
        if found is None:
            if self._weight > _MOST_WEIGHED:
                self._drop_weighed()
            times_dropped = self._times_dropped
            with self._reading:
                found = _text_of(reader.connection, reader.payloads, event)
            if times_dropped == self._times_dropped:
                self._weighed[event.id] = found
                self._weight += len(found.text)
        return len(found.text)

    def subtract(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Remove events; their payloads and messages must still be stored.

        Raises:
            StoreError: An index exists, and this SQLite cannot write to it.
        """
        if not events or not self._can_subtract(connection):
            return
        if self._has_changed:
            self._drop_weighed()
        # In the order of their numbers: for each that is lower than the one before it, FTS5 would
        # begin a segment, and 64 of them are merged at once.
        texts = [self._removed_text(connection, event) for event in sorted(events)]
        connection.execute(
            "INSERT INTO texts (texts, rowid, scope, text)"
            f" SELECT 'delete', {_GIVEN} FROM json_each(?)",
            (_given(texts),),
        )

    def restore(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Index events again whose messages have changed; see ``Derived.restore``."""
        self._is_ahead_old = self._has_changed = True
        if events and self._can_subtract(connection):
            texts = [
                IndexedText(each.id, each.app, *_text_of(connection, self._payloads, each))
                for each in sorted(events)
            ]
            _insert(connection, texts)

    def empty(self, connection: sqlite3.Connection) -> None:
        """Delete the content of the index, if it exists."""
        if _exists(connection):
            connection.execute("INSERT INTO texts(texts) VALUES ('delete-all')")

    def _drop_weighed(self) -> None:
        self._weighed.clear()
        self._weight, self._has_changed = 0, False
        self._times_dropped += 1

    def _still_next(self, connection: sqlite3.Connection, up_to: int) -> list[IndexedText]:
        """Return the texts that were read ahead, up to the first event deleted since."""
        ahead, self._ahead = [] if self._is_ahead_old else self._ahead, []
        self._is_ahead_old = False
        numbers = connection.execute(
            "SELECT id FROM events WHERE id > ? ORDER BY id LIMIT ?", (up_to, len(ahead))
        )
        return [text for text, (number,) in zip(ahead, numbers, strict=False) if text.id == number]

    def _can_subtract(self, connection: sqlite3.Connection) -> bool:
        if self.is_followed:
            return True
        if _exists(connection):
            raise StoreError(
                "the text index of this store can only be changed by an SQLite with FTS5, which"
                " this Python does not have",
                slug="no-search",
            )
        return False

    def _removed_text(self, connection: sqlite3.Connection, event: EventRow) -> IndexedText:
        found = self._weighed.pop(event.id, None)
        self._weight -= len(found.text) if found else 0
        return IndexedText(
            event.id, event.app, *(found or _text_of(connection, self._payloads, event))
        )


def create_index(connection: sqlite3.Connection) -> bool:
    """Create the index if it is missing or outdated; False without FTS5.

    A new index is empty; ``follow`` fills it from the first event on.
    """
    if not has_fts5(connection):
        return False
    if _is_as_now(connection):
        _bound_merges(connection)
        return True
    connection.execute("BEGIN IMMEDIATE")
    if not _is_as_now(connection):  # another process may have been faster
        connection.execute("DROP TABLE IF EXISTS texts")
        connection.execute(_CREATE)
        connection.execute("INSERT INTO texts(texts, rank) VALUES ('hashsize', 16777216)")
        advance(connection, "text", 0)
        connection.execute("UPDATE progress SET made_by = ? WHERE name = 'text'", (RULES,))
    connection.execute("COMMIT")
    _bound_merges(connection)
    return True


def _bound_merges(connection: sqlite3.Connection) -> None:
    """Spread merges over many writes, so that no single write merges whole segments.

    With the defaults a merge begins only when it has to be done completely: one step of a deletion
    from 100,000 events took 1.1 s of CPU, now 0.2 s.
    """
    for name, value in (("crisismerge", _CRISIS_MERGE), ("automerge", _AUTOMERGE)):
        query = "SELECT v FROM texts_config WHERE k = ?"
        if connection.execute(query, (name,)).fetchone() != (value,):
            connection.execute("INSERT INTO texts(texts, rank) VALUES (?, ?)", (name, value))


def set_merging(connection: sqlite3.Connection, *, is_on: bool) -> None:
    """Turn merging by writes on or off: the end of a merge overwrites all merged pages.

    Those pages go through the log, for which a full disk has no room. Opening the store turns
    merging on again.
    """
    if _exists(connection) and has_fts5(connection):
        settings = (_AUTOMERGE, _CRISIS_MERGE) if is_on else (0, _NO_CRISIS)
        for name, value in zip(("automerge", "crisismerge"), settings, strict=True):
            connection.execute("INSERT INTO texts(texts, rank) VALUES (?, ?)", (name, value))


def _is_as_now(connection: sqlite3.Connection) -> bool:
    (rules,) = connection.execute("SELECT made_by FROM progress WHERE name = 'text'").fetchone()
    return rules == RULES and _shape(connection) == _CREATE


def _exists(connection: sqlite3.Connection) -> bool:
    return _shape(connection) is not None


def _shape(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'texts'").fetchone()
    return None if row is None else str(row[0])


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite can index text."""
    return bool(
        connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone()
    )


def _read_texts(
    reader: Reader, up_to: int, limit: int, most: int, until: float
) -> list[IndexedText]:
    """Read the texts of the next events: at least one, however long that takes."""
    connection = reader.connection
    rows = connection.execute(
        "SELECT events.id, app, codec, data FROM events JOIN payloads ON event = events.id"
        " WHERE events.id > ? ORDER BY events.id LIMIT ?",
        (up_to, limit),
    )
    texts: list[IndexedText] = []
    size = 0
    for number, app, codec, data in rows:
        found = indexed(searched_text(connection, reader.payloads, number, codec, data)[0])
        size += len(found.text)
        if texts and (size > most or time.monotonic() > until):
            rows.close()
            break
        texts.append(IndexedText(number, app, *found))
    return texts


def _insert(connection: sqlite3.Connection, texts: Sequence[IndexedText]) -> None:
    """Index texts with one statement, during which other threads can run.

    With a statement for each row, the driver would take Python's lock again 2,000 times, and
    indexing and ingestion would alternate instead of running in parallel.
    """
    connection.execute(
        f"INSERT INTO texts (rowid, scope, text) SELECT {_GIVEN} FROM json_each(?)",
        (_given(texts),),
    )


# Number, scope and text from a JSON object, in the order of the numbers.
_GIVEN: Final = "CAST(key AS INTEGER), substr(key, instr(key, ' ') + 1), value"


def _given(texts: Sequence[IndexedText]) -> str:
    given = {
        f"{each.id} {_scope(each.app, is_whole=each.is_whole)}": _as_indexed(each.text)
        for each in texts
    }
    return orjson.dumps(given).decode()


def scope_of(app: int) -> str:
    """Return the word that stands for an app in the index."""
    return f"app{app}"


def _scope(app: int, *, is_whole: bool) -> str:
    return scope_of(app) if is_whole else f"{scope_of(app)} {_IN_PART}"


def count_in_part(connection: sqlite3.Connection, app: int | None = None) -> int:
    """Count the events of one app or all that are indexed in part; at most 1,000."""
    if not _exists(connection) or not has_fts5(connection):
        return 0
    words = _IN_PART if app is None else f"{_IN_PART} AND {scope_of(app)}"
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM texts WHERE texts MATCH ? LIMIT ?)",
        (f"scope : ({words})", _MOST_COUNTED),
    ).fetchone()
    return int(count)


def _as_indexed(text: str) -> str:
    return text.replace("\0", " ")  # JSON of SQLite ends a text at one


def merge(connection: sqlite3.Connection, pages: int, *, begin: bool) -> bool:
    """Merge part of the index, in the caller's transaction; returns whether all is merged.

    Removed events leave their words in the index, marked as deleted, until a complete merge drops
    both.

    Args:
        connection: Open for writing.
        pages: The number of pages to write.
        begin: Whether to begin a complete merge, or to continue one.
    """
    if not _exists(connection) or not has_fts5(connection):
        return True
    before = connection.total_changes
    connection.execute(
        "INSERT INTO texts (texts, rank) VALUES ('merge', ?)", (-pages if begin else pages,)
    )
    return connection.total_changes - before < 2  # as SQLite's manual says


def size_in_pages(connection: sqlite3.Connection) -> int:
    """Count the pages of the index; FTS5's own pages, about 4 KB each."""
    if not _exists(connection):
        return 0
    (count,) = connection.execute("SELECT count(*) FROM texts_data").fetchone()
    return int(count)


def _text_of(connection: sqlite3.Connection, payloads: PayloadReader, event: EventRow) -> Indexed:
    """Return exactly the text that was indexed; the index itself has no copy of it."""
    codec, data = connection.execute(
        "SELECT codec, data FROM payloads WHERE event = ?", (event.id,)
    ).fetchone()
    return indexed(searched_text(connection, payloads, event.id, codec, data)[0])


def searched_text(
    connection: sqlite3.Connection, payloads: PayloadReader, number: int, codec: int, data: bytes
) -> tuple[str, int]:
    """Return an event's searchable text, and the size of the JSON read for it."""
    raw, messages = payloads.decode_own(connection, number, codec, data, MAX_MESSAGES)
    return text_of_parts(raw, messages), len(raw) + sum(map(len, messages))
