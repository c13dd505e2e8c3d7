"""The text index: FTS5 without a copy of the text, filled behind ingestion, read newest first.

Results are never ranked: over words that half of all events hold, ranking takes a second and the
newest take a millisecond. Snippets are made by the same tokenizer, from the few events shown.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Final

import orjson

from sessionbat.errors import StoreError
from sessionbat.server.records import SearchHit
from sessionbat.server.store.reading import rfc3339
from sessionbat.server.store.search_folding import FOLDING, Trace, fold
from sessionbat.server.store.search_text import Term, text_of_parts
from sessionbat.server.store.sqlite_events import unpack_id
from sessionbat.server.store.sqlite_payloads import PayloadReader
from sessionbat.server.store.sqlite_progress import advance, progress_of
from sessionbat.server.store.sqlite_recent_rows import IndexedText, RecentRows

#: One transaction of indexing ends at so much text: it bounds memory and how long it locks.
_MAX_CHARACTERS: Final = 4 * 1024 * 1024

_CRISIS_MERGE: Final = 64

# Marks that folding has left are parts of words: vowels of Devanagari, say.
_TOKENIZER: Final = "tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\""
_SNIPPET_WORDS: Final = 24
_MARKED = re.compile("\x02([^\x03]*)\x03")


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
        connection.execute("INSERT INTO texts(texts, rank) VALUES ('automerge', 16)")
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
    setting = connection.execute("SELECT v FROM texts_config WHERE k = 'crisismerge'").fetchone()
    if setting != (_CRISIS_MERGE,):
        connection.execute(
            "INSERT INTO texts(texts, rank) VALUES ('crisismerge', ?)", (_CRISIS_MERGE,)
        )


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
    last = texts[-1].number
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
        text = _searched_text(connection, payloads, number, codec, data)
        texts.append(IndexedText(number, app, fold(text)))
        size += len(texts[-1].text)
        if size >= _MAX_CHARACTERS:
            rows.close()
            break
    return texts


def _insert(connection: sqlite3.Connection, texts: Sequence[IndexedText]) -> None:
    """Index texts with one statement, during which other threads may run.

    The driver takes Python's lock again after each row, and waits for it as long as a thread is
    let run: with 2,000 rows, indexing and ingestion would take turns instead of running together.
    """
    given = {f"{number} {_scope(app)}": _as_indexed(text) for number, app, text in texts}
    connection.execute(
        "INSERT INTO texts (rowid, scope, text)"
        " SELECT CAST(key AS INTEGER), substr(key, instr(key, ' ') + 1), value"
        " FROM json_each(?)",  # in the order of the numbers, as they stand in the object
        (orjson.dumps(given).decode(),),
    )


def unindex(
    connection: sqlite3.Connection, payloads: PayloadReader, numbers: Sequence[int]
) -> None:
    """Take events out that ``follow`` has put in, before their payloads and messages are deleted.

    Raises:
        StoreError: There is an index, and this SQLite cannot write to it.
    """
    if not _exists(connection):
        return
    if not has_fts5(connection):
        raise StoreError(
            "the text index of this store can only be changed by an SQLite with FTS5, and Python's"
            " here has none",
            slug="no-search",
        )
    texts = []
    for number in numbers:
        app, codec, data = connection.execute(
            "SELECT app, codec, data FROM events JOIN payloads ON event = id WHERE id = ?",
            (number,),
        ).fetchone()
        # Exactly what was put in: the index has no copy to look it up.
        text = fold(_searched_text(connection, payloads, number, codec, data))
        texts.append((number, _scope(app), _as_indexed(text)))
    connection.executemany(
        "INSERT INTO texts (texts, rowid, scope, text) VALUES ('delete', ?, ?, ?)", texts
    )


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
    if not _exists(connection):
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


def query(
    connection: sqlite3.Connection,
    payloads: PayloadReader,
    terms: Sequence[Term],
    *,
    app: str | None,
    limit: int,
    below: int,
) -> list[tuple[int, SearchHit]]:
    """Find events that hold all terms, newest first, each with its number."""
    match = " AND ".join(f'"{term.words}"{"*" if term.is_prefix else ""}' for term in terms)
    scoped = f"text : ({match})"
    if app is not None:
        found = connection.execute("SELECT id FROM apps WHERE name = ?", (app,)).fetchone()
        if found is None:
            return []
        scoped = f"scope : app{found[0]} AND {scoped}"
    rows = connection.execute(
        "SELECT events.id, apps.name, session_id, event_id, at_us, kind, codec, data"
        " FROM texts CROSS JOIN events ON events.id = texts.rowid"
        " CROSS JOIN payloads ON payloads.event = events.id"
        " CROSS JOIN sessions ON sessions.id = events.session"
        " CROSS JOIN apps ON apps.id = events.app"
        " WHERE texts MATCH ? AND texts.rowid < ? ORDER BY texts.rowid DESC LIMIT ?",
        (scoped, below, limit),
    ).fetchall()
    texts = {row[0]: _searched_text(connection, payloads, row[0], *row[6:]) for row in rows}
    snippets = _snippets(connection, texts, match)
    return [
        (
            number,
            SearchHit(
                name, session_id, unpack_id(event_id), rfc3339(at_us), kind, *snippets[number]
            ),
        )
        for number, name, session_id, event_id, at_us, kind, *_ in rows
    ]


def _searched_text(
    connection: sqlite3.Connection, payloads: PayloadReader, number: int, codec: int, data: bytes
) -> str:
    return text_of_parts(*payloads.decode_own(connection, number, codec, data))


def _snippets(
    connection: sqlite3.Connection, texts: dict[int, str], match: str
) -> dict[int, tuple[str, list[tuple[int, int]]]]:
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.shown USING fts5(text, {_TOKENIZER})"
    )
    folded = {number: _as_indexed(fold(text)) for number, text in texts.items()}
    connection.execute("BEGIN")
    try:
        connection.executemany("INSERT INTO temp.shown (rowid, text) VALUES (?, ?)", folded.items())
        found: list[tuple[int, str]] = connection.execute(
            "SELECT rowid, snippet(shown, 0, char(2), char(3), char(1), ?) FROM temp.shown"
            " WHERE shown MATCH ?",
            (_SNIPPET_WORDS, match),
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    snippets = dict.fromkeys(texts, ("", list[tuple[int, int]]()))
    for number, snippet in found:
        snippets[number] = _unmark(_as_written(texts[number], folded[number], snippet))
    return snippets


def _as_written(text: str, folded: str, snippet: str) -> str:
    """Give a snippet of a folded text as it stands in the text itself, with its marks."""
    within = snippet.strip("\x01")
    start = folded.find(within.replace("\x02", "").replace("\x03", ""))
    trace = Trace(text)
    places, at = list[tuple[int, str]](), start
    for part in _MARK.split(within):
        if part == "\x02":
            places.append((trace.start_of(at), part))
        elif part == "\x03":
            places.append((trace.end_of(at), part))
        else:
            at += len(part)
    begin, end = trace.start_of(start), trace.end_of(at)
    written, last = ["…" if snippet.startswith("\x01") else ""], begin
    for place, mark in places:
        written += [_without_marks(text[last:place]), mark]
        last = max(last, place)
    written += [_without_marks(text[last:end]), "…" if snippet.endswith("\x01") else ""]
    return "".join(written)


_MARK: Final = re.compile("([\x02\x03])")


def _without_marks(text: str) -> str:
    return text.replace("\x02", " ").replace("\x03", " ")


def _unmark(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """Take the marks out of a snippet: its plain text, and where the marked words were."""
    text = " ".join(marked.split())
    text = text.replace("\x03\x02", "")  # neighbours in a phrase of one-character words
    plain, highlights, end = "", list[tuple[int, int]](), 0
    for match in _MARKED.finditer(text):
        plain += text[end : match.start()]
        highlights.append((len(plain), len(plain) + len(match[1])))
        plain += match[1]
        end = match.end()
    return plain + text[end:], highlights
