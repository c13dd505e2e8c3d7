"""Recognizes a store's file, and migrates it to the newest schema.

The schema is the numbered scripts in ``migrations/``; ``PRAGMA user_version`` counts those that
were applied to a file. A released script is never changed; changes go into the next one. Before a
file with content is migrated, a copy is put beside it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sessionbat.errors import StoreError
from sessionbat.server.store.sqlite.private_file import make_private, share_alike

APPLICATION_ID = 0x53424154  # "SBAT", at byte 68 of the file: tells ours from other SQLite files

#: The migration scripts in order; those that need a rebuild of derived data.
MIGRATIONS: Final = tuple(
    path.read_text("utf-8")
    for path in sorted((Path(__file__).parent / "migrations").glob("[0-9]*.sql"))
)
_REBUILD_AFTER: Final = {2}

_log = logging.getLogger("sessionbat.server")


def check_file(path: Path) -> None:
    """Raise StoreError unless the file is missing, empty, or a store that this version can use.

    Only reads; a file of another program is not changed by a single byte.
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
            f"{str(path)!r} is another program's database; name another file",
            slug="not-a-store",
        )
    _refuse_newer(int.from_bytes(header[60:64], "big"), path)
    if Path(f"{path}-wal").exists():
        _check_version_in_wal(path)


def create_or_migrate(
    connection: sqlite3.Connection, path: Path, rebuild: Callable[[sqlite3.Connection], object]
) -> None:
    """Migrate a checked file to the newest schema, completely or not at all.

    Args:
        connection: In autocommit mode, open for writing.
        path: Its file.
        rebuild: Rebuilds derived data, inside a transaction of the connection.
    """
    if not _version(connection):
        # These two are fixed with the first table: 8 KB pages hold a payload in fewer reads, and
        # without auto_vacuum from the start, deleting could never give space back.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if _version(connection) < len(MIGRATIONS):
        _migrate(connection, path, rebuild)


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


def _migrate(
    connection: sqlite3.Connection, path: Path, rebuild: Callable[[sqlite3.Connection], object]
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(
            connection
        )  # again, under the lock: another process may have been faster
        if version and version < len(MIGRATIONS):
            backup = _back_up(path, version)
            _log.warning(
                "store %s: changing its schema from %d to %d; the old file is kept as %s"
                " [store-migrated]",
                path,
                version,
                len(MIGRATIONS),
                backup,
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if version > 0 and any(version < number for number in _REBUILD_AFTER):
            rebuild(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _back_up(path: Path, version: int) -> Path:
    """Copy the file beside itself and return the copy; the caller keeps others from writing."""
    backup = path.with_name(f"{path.name}.schema-{version}.backup")
    unfinished = backup.with_name(f"{backup.name}.part")
    unfinished.unlink(missing_ok=True)
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    make_private(unfinished)
    target = sqlite3.connect(unfinished)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
    share_alike(unfinished, path)
    unfinished.replace(backup)  # a copy under the final name is a whole one
    return backup


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
