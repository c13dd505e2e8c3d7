"""The text index: FTS5 without a copy of the text, filled behind ingestion, read newest first.

Results are never ranked: over words that half of all events hold, ranking takes a second and the
newest take a millisecond. Snippets are made by the same tokenizer, from the few events shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from sessionbat.errors import StoreError
from sessionbat.server.reading.figures import rfc3339
from sessionbat.server.reading.folding import FOLDING
from sessionbat.server.records import Page, SearchHit
from sessionbat.server.store.query_terms import (
    MAX_CHARACTERS,
    Term,
    indexed,
    parse_query,
    text_of_parts,
)
from sessionbat.server.store.snippets import (
    BEGIN,
    END,
    LEFT_OUT,
    WORDS,
    Snippet,
    Window,
    find_window,
    read_snippet,
)
from sessionbat.server.store.sqlite.append import unpack_id
from sessionbat.server.store.sqlite.connections import Reader
from sessionbat.server.store.sqlite.paging import Filling, Place, read_cursor
from sessionbat.server.store.sqlite.payloads import MAX_MESSAGES, PayloadReader
from sessionbat.server.store.sqlite.progress import advance, progress_of
from sessionbat.server.store.sqlite.recent_rows import IndexedText, RecentRows

#: One transaction takes no more text, unless that of one event is as long: it bounds memory and how
#: long it locks. A million characters take a tenth of a second, 0.4 s if no word repeats.
_MAX_CHARACTERS: Final = MAX_CHARACTERS // 2
#: A page of hits ends early once so much JSON was read for it.
_MAX_READ_BYTES: Final = 8 * 1024 * 1024

_AUTOMERGE: Final = 16
_CRISIS_MERGE: Final = 64
_NO_CRISIS: Final = 1999  # the most there is

# Marks that folding has left are parts of words: vowels of Devanagari, say.
_TOKENIZER: Final = "tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\""

# The text first: in an index of several columns, FTS5 spends two bytes more on each word of each
# event in any but the first. scope: a word that stands for the app, so that a search within one app
# stays in the index.
_CREATE: Final = (
    "CREATE VIRTUAL TABLE texts USING fts5"
    f"(text, scope, content = '', columnsize = 0, {_TOKENIZER})"
)


def create_index(connection: sqlite3.Connection) -> bool:
    """Make the index where it is missing, of an earlier shape or folding; False without FTS5.

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
        connection.execute("UPDATE progress SET made_by = ? WHERE name = 'text'", (FOLDING,))
    connection.execute("COMMIT")
    _bound_merges(connection)
    return True


def _bound_merges(connection: sqlite3.Connection) -> None:
    """Let no write merge segments all at once: automerge begins at 16, a little with each write.

    At the default, 16 as well, a merge is never begun but when it has to be done whole: one step of
    a deletion out of 100,000 events took 1.1 s of CPU, and takes 0.2 s.
    """
    for name, value in (("crisismerge", _CRISIS_MERGE), ("automerge", _AUTOMERGE)):
        query = "SELECT v FROM texts_config WHERE k = ?"
        if connection.execute(query, (name,)).fetchone() != (value,):
            connection.execute("INSERT INTO texts(texts, rank) VALUES (?, ?)", (name, value))


def set_merging(connection: sqlite3.Connection, *, is_on: bool) -> None:
    """Let writes merge segments, or not: the end of a merge overwrites all that it has merged.

    That goes through the log, for which a full disk has no room. Off, it is on again when the store
    is opened the next time.
    """
    if _exists(connection) and has_fts5(connection):
        settings = (_AUTOMERGE, _CRISIS_MERGE) if is_on else (0, _NO_CRISIS)
        for name, value in zip(("automerge", "crisismerge"), settings, strict=True):
            connection.execute("INSERT INTO texts(texts, rank) VALUES (?, ?)", (name, value))


def _is_as_now(connection: sqlite3.Connection) -> bool:
    (folding,) = connection.execute("SELECT made_by FROM progress WHERE name = 'text'").fetchone()
    return folding == FOLDING and _shape(connection) == _CREATE


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


def empty_index(connection: sqlite3.Connection) -> None:
    """Take everything out of the index, if there is one."""
    if _exists(connection):
        connection.execute("INSERT INTO texts(texts) VALUES ('delete-all')")


def follow(
    connection: sqlite3.Connection,
    payloads: PayloadReader,
    recent: RecentRows[IndexedText],
    limit: int,
) -> bool:
    """Index up to ``limit`` further events, inside the caller's transaction; say if all are in."""
    progress = progress_of(connection, "text")
    if progress.following is None:
        return True
    texts = recent.take_from(progress.following, limit, _MAX_CHARACTERS) or _read_texts(
        connection, payloads, progress.up_to, limit
    )
    _insert(connection, texts)
    last = texts[-1].id
    advance(connection, "text", last)
    return last == progress.newest


def _read_texts(
    connection: sqlite3.Connection, payloads: PayloadReader, up_to: int, limit: int
) -> list[IndexedText]:
    rows = connection.execute(
        "SELECT events.id, app, codec, data FROM events JOIN payloads ON event = events.id"
        " WHERE events.id > ? ORDER BY events.id LIMIT ?",
        (up_to, limit),
    )
    texts: list[IndexedText] = []
    size = 0
    for number, app, codec, data in rows:
        text, _ = _searched_text(connection, payloads, number, codec, data)
        text = indexed(text)
        size += len(text)
        if texts and size > _MAX_CHARACTERS:
            rows.close()
            break
        texts.append(IndexedText(number, app, text))
    return texts


def _insert(connection: sqlite3.Connection, texts: Sequence[IndexedText]) -> None:
    """Index texts with one statement, during which other threads may run.

    The driver takes Python's lock again after each row, and waits for it as long as a thread is
    let run: with 2,000 rows, indexing and ingestion would take turns instead of running together.
    """
    given = {f"{each.id} {_scope(each.app)}": _as_indexed(each.text) for each in texts}
    connection.execute(
        "INSERT INTO texts (rowid, scope, text)"
        " SELECT CAST(key AS INTEGER), substr(key, instr(key, ' ') + 1), value"
        " FROM json_each(?)",  # in the order of the numbers, as they stand in the object
        (orjson.dumps(given).decode(),),
    )


def unindex(
    connection: sqlite3.Connection, payloads: PayloadReader, numbers: Sequence[int], room: int
) -> tuple[int, int]:
    """Take events out that ``follow`` has put in, before their payloads and messages are deleted.

    Returns:
        How many, from the first, and of how many characters: the first at least, further ones as
        long as there is room for their text.

    Raises:
        StoreError: There is an index, and this SQLite cannot write to it.
    """
    if not _exists(connection):
        return len(numbers), 0
    if not has_fts5(connection):
        raise StoreError(
            "the text index of this store can only be changed by an SQLite with FTS5, and Python's"
            " here has none",
            slug="no-search",
        )
    texts: list[tuple[int, str, str]] = []
    size = 0
    for number in numbers:
        app, codec, data = connection.execute(
            "SELECT app, codec, data FROM events JOIN payloads ON event = id WHERE id = ?",
            (number,),
        ).fetchone()
        # Exactly what was put in: the index has no copy to look it up.
        text = indexed(_searched_text(connection, payloads, number, codec, data)[0])
        if texts and size + len(text) > room:
            break
        size += len(text)
        texts.append((number, _scope(app), _as_indexed(text)))
    # In the order of their numbers: for each that is lower than the one before it, FTS5 would begin
    # a segment, and 64 of them are merged at once.
    connection.executemany(
        "INSERT INTO texts (texts, rowid, scope, text) VALUES ('delete', ?, ?, ?)", sorted(texts)
    )
    return len(texts), size


def _scope(app: int) -> str:
    return f"app{app}"


def _as_indexed(text: str) -> str:
    return text.replace("\0", " ")  # JSON of SQLite ends a text at one


def merge(connection: sqlite3.Connection, pages: int, *, begin: bool) -> bool:
    """Merge the index a little, in the caller's transaction; say when all is merged.

    What was taken out leaves its words in the index, marked as deleted, until a merge of
    everything drops both.

    Args:
        connection: Open for writing.
        pages: How many to write.
        begin: Whether this begins a merge of everything, or goes on with it.
    """
    if not _exists(connection) or not has_fts5(connection):
        return True
    before = connection.total_changes
    connection.execute(
        "INSERT INTO texts (texts, rank) VALUES ('merge', ?)", (-pages if begin else pages,)
    )
    return connection.total_changes - before < 2  # as SQLite's manual says


def size_in_pages(connection: sqlite3.Connection) -> int:
    """Count the pages of the index, in its own measure, about 4 KB each."""
    if not _exists(connection):
        return 0
    (count,) = connection.execute("SELECT count(*) FROM texts_data").fetchone()
    return int(count)


class _HitRow(NamedTuple):
    number: int
    app: str
    session_id: str
    event_id: str | bytes
    at_us: int
    kind: str
    codec: int
    data: bytes


_HITS: Final = """
    SELECT events.id, apps.name, session_id, event_id, at_us, kind, codec, data
    FROM texts CROSS JOIN events ON events.id = texts.rowid
    CROSS JOIN payloads ON payloads.event = events.id
    CROSS JOIN sessions ON sessions.id = events.session
    CROSS JOIN apps ON apps.id = events.app
    WHERE texts MATCH ? AND texts.rowid < ? ORDER BY texts.rowid DESC LIMIT ?
"""
_MARK: Final = "s"
_ABOVE_ALL: Final = Place(2**63 - 1)


def search(
    reader: Reader, words: str, *, app: str | None, limit: int, after: str | None
) -> Page[SearchHit]:
    """Find events that hold all terms, newest first; fewer when they are large.

    Raises:
        StoreError: This SQLite cannot read a text index.
    """
    below = read_cursor(after, _ABOVE_ALL, _MARK).place
    terms = parse_query(words)
    if not terms:
        return Page([], None)
    connection = reader.connection
    if not has_fts5(connection):
        raise StoreError(
            "search needs an SQLite with FTS5, and Python's here has none", slug="no-search"
        )
    matching = f"text : ({_match(terms, ' AND ')})"
    if app is not None:
        found = connection.execute("SELECT id FROM apps WHERE name = ?", (app,)).fetchone()
        if found is None:
            return Page([], None)
        (number,) = found
        matching = f"scope : {_scope(number)} AND {matching}"
    filling, is_cut = Filling[tuple[_HitRow, Window]](limit, _MAX_READ_BYTES), False
    rows = connection.execute(_HITS, (matching, below, limit + 1))
    for row in map(_HitRow._make, rows):
        if filling.is_full:
            is_cut = True
            rows.close()
            break
        reader.check_time()
        text, size = _searched_text(connection, reader.payloads, row.number, row.codec, row.data)
        filling.add(Place(row.number), (row, find_window(text, terms)), size)
    snippets = _snippets(connection, [window for _, window in filling.items], terms)
    hits = [_hit(row, each) for (row, _), each in zip(filling.items, snippets, strict=True)]
    return Page(hits, filling.next(_MARK) if is_cut else None)


def _hit(row: _HitRow, snippet: Snippet) -> SearchHit:
    words, highlights = snippet
    at = rfc3339(row.at_us)
    return SearchHit(
        row.app, row.session_id, unpack_id(row.event_id), at, row.kind, words, highlights
    )


def _match(terms: Sequence[Term], operator: str) -> str:
    return operator.join(f'"{term.words}"{"*" if term.is_prefix else ""}' for term in terms)


def _searched_text(
    connection: sqlite3.Connection, payloads: PayloadReader, number: int, codec: int, data: bytes
) -> tuple[str, int]:
    """Give what is searched of an event, and how much JSON was read for it."""
    raw, messages = payloads.decode_own(connection, number, codec, data, MAX_MESSAGES)
    return text_of_parts(raw, messages), len(raw) + sum(map(len, messages))


def _snippets(
    connection: sqlite3.Connection, windows: Sequence[Window], terms: Sequence[Term]
) -> list[Snippet]:
    """Make a snippet of each window, with a small index that is gone afterwards."""
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.shown USING fts5(text, {_TOKENIZER})"
    )
    connection.execute("BEGIN")
    try:
        connection.executemany(
            "INSERT INTO temp.shown (rowid, text) VALUES (?, ?)",
            [(number, window.folded) for number, window in enumerate(windows)],
        )
        found = connection.execute(
            "SELECT rowid, snippet(shown, 0, ?, ?, ?, ?) FROM temp.shown WHERE shown MATCH ?",
            # Terms that are far from each other are not all in one window.
            (BEGIN, END, LEFT_OUT, WORDS, _match(terms, " OR ")),
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    snippets: list[Snippet] = [("", []) for _ in windows]
    for number, snippet in found:
        snippets[number] = read_snippet(windows[number], snippet)
    return snippets
