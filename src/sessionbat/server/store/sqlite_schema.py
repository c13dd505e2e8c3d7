"""What the SQLite file holds: its schema as numbered migrations, and how a file is told to be ours.

``PRAGMA user_version`` is the number of migrations that a file has seen. A migration that has
landed is never changed; the next one is added below it. ``SqliteStore`` is the only caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sessionbat.errors import StoreError

APPLICATION_ID = 0x53424154  # "SBAT", at byte 68 of the file: tells ours from other SQLite files

_FIRST = """
-- The products being watched. Named once here, a small number everywhere else.
CREATE TABLE apps (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row a session: what the session list shows, kept up to date in the transaction that stores
-- the events, so that a list never counts. Derived; `events` and `payloads` are the truth.
CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY,
    app           INTEGER NOT NULL REFERENCES apps (id),
    session_id    TEXT    NOT NULL,
    first_at_us   INTEGER NOT NULL,  -- microseconds since 1970, UTC, of events.at_us
    last_at_us    INTEGER NOT NULL,
    interactions  INTEGER NOT NULL DEFAULT 0,
    observations  INTEGER NOT NULL,
    llm_calls     INTEGER NOT NULL,
    tool_calls    INTEGER NOT NULL,
    retrievals    INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    UNIQUE (app, session_id)
) STRICT;
CREATE INDEX sessions_by_activity ON sessions (last_at_us DESC, id DESC);
CREATE INDEX sessions_of_app_by_activity ON sessions (app, last_at_us DESC, id DESC);

-- The turns of a session, each id stored once.
CREATE TABLE interactions (
    id             INTEGER PRIMARY KEY,
    session        INTEGER NOT NULL REFERENCES sessions (id),
    interaction_id TEXT    NOT NULL,
    UNIQUE (session, interaction_id)
) STRICT;

-- One row an event: what lists, filters and sums need, read once from the payload on arrival.
-- AUTOINCREMENT: a row number is never used twice, so a cursor over them stays good after deletes.
CREATE TABLE events (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    app            INTEGER NOT NULL REFERENCES apps (id),
    event_id       TEXT    NOT NULL,
    session        INTEGER NOT NULL REFERENCES sessions (id),
    interaction    INTEGER REFERENCES interactions (id),
    at_us          INTEGER NOT NULL,  -- created_at; where it is missing or no time, received_at_us
    received_at_us INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    name           TEXT,
    model          TEXT,
    failed         INTEGER NOT NULL,  -- 1: the observation's error is not null
    latency_ms     REAL,
    input_tokens   INTEGER,
    output_tokens  INTEGER,
    cost_usd       REAL,
    UNIQUE (app, event_id)
) STRICT;
CREATE INDEX events_of_session ON events (session, at_us, id);

-- The JSON of each event, byte for byte as it was received, apart from `events` so that no scan
-- of those reads through it. codec 0: as it is; 1: one zstd frame.
CREATE TABLE payloads (
    event INTEGER PRIMARY KEY REFERENCES events (id),
    codec INTEGER NOT NULL,
    data  BLOB    NOT NULL
) STRICT;
"""

MIGRATIONS = (_FIRST,)


def check_file(path: Path) -> None:
    """Raise StoreError unless the file is missing, empty, or a store that this version can use.

    Only reads: what is not ours stays as it is, to the byte.
    """
    try:
        header = _read_header(path)
    except OSError as exc:
        raise StoreError(
            f"cannot open the store {str(path)!r}: {exc.strerror}; name a file in a directory"
            " that exists and may be written",
            slug="store-unusable",
        ) from exc
    if not header:
        return
    if not header.startswith(b"SQLite format 3\0"):
        raise StoreError(f"{str(path)!r} is not a database; name another file", slug="not-a-store")
    if header[40:44] == bytes(4):
        return  # no table was ever made in it: a start was cut short before the first commit
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(
            f"{str(path)!r} is a database of some other program; name another file",
            slug="not-a-store",
        )
    _refuse_newer(int.from_bytes(header[60:64], "big"), path)
    if Path(f"{path}-wal").exists():
        _check_version_in_wal(path)


def create_or_migrate(connection: sqlite3.Connection) -> None:
    """Bring a checked file to the newest schema, each migration whole or not at all.

    Args:
        connection: In autocommit mode, open for writing.
    """
    if not _version(connection):
        # These two are fixed with the first table: 8 KB pages hold a payload in fewer reads, and
        # without auto_vacuum from the start, deleting could never give space back.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if _version(connection) < len(MIGRATIONS):
        _migrate(connection)


def _read_header(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(100)


def _check_version_in_wal(path: Path) -> None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        _refuse_newer(_version(connection), path)
    except sqlite3.Error as exc:
        raise StoreError(
            f"cannot read the store {str(path)!r}: {exc}", slug="store-unusable"
        ) from exc
    finally:
        connection.close()


def _refuse_newer(version: int, path: Path) -> None:
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{str(path)!r} was written by a newer SessionBat (schema {version}, this one knows"
            f" {len(MIGRATIONS)}); upgrade SessionBat or name another file",
            slug="newer-store",
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another process may have been faster.
        for number, script in enumerate(MIGRATIONS[_version(connection) :], _version(connection)):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
