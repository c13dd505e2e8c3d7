"""Full-text search: events that match, the newest first, with a snippet of each.

Results are not ranked: for words in half of all events, ranking takes a second, and the newest
results take a millisecond. Snippets are made with the index's tokenizer, only for the events shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from sessionbat.errors import StoreError
from sessionbat.server.reading.figures import rfc3339
from sessionbat.server.records import Page, SearchHit
from sessionbat.server.store.query_terms import Term, parse_query
from sessionbat.server.store.questions import SearchQuery
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
from sessionbat.server.store.sqlite.text_index import (
    TOKENIZER,
    count_in_part,
    has_fts5,
    scope_of,
    searched_text,
)

#: A page of hits ends early once so much JSON was read for it.
_MAX_READ_BYTES: Final = 8 * 1024 * 1024


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


def search(reader: Reader, query: SearchQuery) -> Page[SearchHit]:
    """Find events that match all terms, newest first; a page of large events has fewer.

    Raises:
        StoreError: This SQLite cannot read a text index.
    """
    below = read_cursor(query.after, _ABOVE_ALL, _MARK).place
    terms = parse_query(query.words)
    if not terms:
        return Page([], None)
    connection = reader.connection
    if not has_fts5(connection):
        raise StoreError(
            "search needs an SQLite with FTS5, which this Python does not have", slug="no-search"
        )
    matching = f"text : ({_match(terms, ' AND ')})"
    number = None
    if query.app is not None:
        found = connection.execute("SELECT id FROM apps WHERE name = ?", (query.app,)).fetchone()
        if found is None:
            return Page([], None)
        (number,) = found
        matching = f"scope : {scope_of(number)} AND {matching}"
    filling, is_cut = Filling[tuple[_HitRow, Window]](query.limit, _MAX_READ_BYTES), False
    rows = connection.execute(_HITS, (matching, below, query.limit + 1))
    for row in map(_HitRow._make, rows):
        if filling.is_full:
            is_cut = True
            rows.close()
            break
        reader.check_time()
        text, size = searched_text(connection, reader.payloads, row.number, row.codec, row.data)
        filling.add(Place(row.number), (row, find_window(text, terms)), size)
    snippets = _snippets(connection, [window for _, window in filling.items], terms)
    hits = [_hit(row, each) for (row, _), each in zip(filling.items, snippets, strict=True)]
    in_part = count_in_part(connection, number)
    return Page(hits, filling.next(_MARK) if is_cut else None, searched_in_part=in_part)


def _hit(row: _HitRow, snippet: Snippet) -> SearchHit:
    words, highlights = snippet
    at = rfc3339(row.at_us)
    return SearchHit(
        row.app, row.session_id, unpack_id(row.event_id), at, row.kind, words, highlights
    )


def _match(terms: Sequence[Term], operator: str) -> str:
    return operator.join(f'"{term.words}"{"*" if term.is_prefix else ""}' for term in terms)


def _snippets(
    connection: sqlite3.Connection, windows: Sequence[Window], terms: Sequence[Term]
) -> list[Snippet]:
    """Make a snippet of each window, with a small temporary index."""
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.shown USING fts5(text, {TOKENIZER})"
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
