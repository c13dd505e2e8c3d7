"""Backup and restore: copies a store's file while it is in use, and replaces it while it is not.

A copy has its final name only once it is complete and on disk. A file that is replaced is always
kept under another name.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sessionbat.errors import StoreError
from sessionbat.server.store.sqlite.private_file import make_private, share_alike
from sessionbat.server.store.sqlite.schema import APPLICATION_ID, check_file

Progress = Callable[[int, int], None]

_PAGES: Final = 1000  # of one step of copying: 8 MB
_LOCK_TIMEOUT: Final = 1.0


def back_up(path: Path, target: Path, *, overwrite: bool, on_progress: Progress) -> None:
    """Copy a snapshot of the store; others may go on writing to it.

    Raises:
        StoreError: There is no store, the target already exists, or it cannot be written.
    """
    check_is_store(path)
    if target.exists() and (not overwrite or target.samefile(path)):
        raise StoreError(
            f"{str(target)!r} already exists; name another file, or overwrite it with --force",
            slug="file-exists",
        )
    with unfinished(target, ".part") as part:
        _copy_store(path, part, on_progress)
        share_alike(part, path)  # it holds no less than the store does
        part.replace(target)
        _sync_directory(target)


def restore(path: Path, source: Path, *, now: datetime, on_progress: Progress) -> Path | None:
    """Replace the store by a copy, and keep the old file beside it.

    Args:
        path: The store's file; it need not exist.
        source: The copy, of this version or an older one; it is not moved.
        now: Becomes part of the old file's new name.
        on_progress: Called with the amount copied and the total.

    Returns:
        The old file; None when there was none.

    Raises:
        StoreError: The copy is no store or not complete, or another process uses the store.
    """
    check_is_store(source)
    with unfinished(path, ".restoring") as part:
        _copy_backup(source, part, on_progress)
        said = _damage_of(part)
        if said is not None:
            raise _damaged(source, said)
        with alone(path):
            return put_in_place(part, path, now)


def put_in_place(part: Path, path: Path, now: datetime) -> Path | None:
    """Replace a store by a complete file, keeping the old one; nothing else may use it."""
    if path.exists():
        share_alike(part, path)
    kept = _keep(path, now) if path.exists() else None
    part.replace(path)
    _sync_directory(path)
    return kept


def check_is_store(path: Path) -> None:
    """Raise StoreError unless there is a store that this version can use."""
    check_file(path)
    if not path.exists() or not _is_store(path):
        raise StoreError(
            f"there is no store at {str(path)!r}; name an existing one with --store",
            slug="no-store",
        )


def copies_beside(path: Path) -> list[Path]:
    """Find a store's backups and replaced files in its directory."""
    return sorted(
        other
        for other in path.absolute().parent.iterdir()
        if other.is_file() and not other.samefile(path) and _is_store(other)
    )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lock every other process out of a file while the block runs, even one that starts meanwhile.

    Any process that has a store open, whatever its version, holds a lock on the file. Only when
    nobody does can the file leave WAL mode, and the log is then empty and removed. A damaged file
    cannot be locked, so it counts as unused.

    Raises:
        StoreError: Another process uses it.
    """
    if not path.exists():
        yield
        return
    connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None)
    try:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError(
                    f"the store {str(path)!r} is in use by a server or another command; stop it"
                    " first",
                    slug="store-in-use",
                ) from exc
            raise _cannot_write(path, exc) from exc
        except sqlite3.DatabaseError:
            pass
        yield
    finally:
        connection.close()


@contextmanager
def unfinished(target: Path, ending: str) -> Iterator[Path]:
    """Yield a temporary name beside the target; a file left there is removed at the end."""
    part = target.with_name(f"{target.name}{ending}")
    try:
        part.unlink(missing_ok=True)
        yield part
    except (OSError, sqlite3.Error) as exc:
        raise _cannot_write(target, exc) from exc
    finally:
        for left in (part, Path(f"{part}-journal"), Path(f"{part}-wal"), Path(f"{part}-shm")):
            if left.is_file():
                left.unlink()


def _copy(source: Path, mode: str, target: Path, on_progress: Progress) -> None:
    """Copy page by page inside one read transaction, so that other writers cause no restart."""
    reading = sqlite3.connect(
        f"{source.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None
    )
    make_private(target)
    writing = sqlite3.connect(target, isolation_level=None)
    try:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(
            writing,
            pages=_PAGES,
            progress=lambda _, left, total: on_progress(total - left, total),
            sleep=0,
        )
        # So that the copy is one file, whoever opens it next.
        writing.execute("PRAGMA journal_mode = DELETE")
    finally:
        writing.close()
        reading.close()
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _copy_store(source: Path, target: Path, on_progress: Progress) -> None:
    """Copy a store and verify the copy, so that a damaged one never replaces a good one."""
    try:
        _copy(source, "rw", target, on_progress)
        said = _damage_of(target)
    except sqlite3.DatabaseError as exc:
        if not is_damage(exc):
            raise
        said = str(exc)
    if said is not None:
        raise StoreError(
            f"the store {str(source)!r} is damaged ({said}), so nothing was overwritten; restore an"
            " earlier backup, or see what can be read with sessionbat store check",
            slug="damaged-store",
        )


def is_damage(exc: sqlite3.DatabaseError) -> bool:
    """Whether an error means a damaged page, or that the file is no database."""
    code = getattr(exc, "sqlite_errorcode", 0)  # the driver's own errors have none
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _copy_backup(source: Path, target: Path, on_progress: Progress) -> None:
    # Immutable: to read a file of WAL mode, SQLite would put two others beside it.
    mode = "ro" if Path(f"{source}-wal").exists() else "ro&immutable=1"
    try:
        _copy(source, mode, target, on_progress)
    except sqlite3.DatabaseError as exc:
        if is_damage(exc):
            raise _damaged(source, str(exc)) from exc
        raise


def _damage_of(part: Path) -> str | None:
    """Read a whole file; return the problem found, if any."""
    connection = sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)
    try:
        (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as exc:
        said = str(exc)
    finally:
        connection.close()
    return None if said == "ok" else str(said).splitlines()[-1]


def _keep(path: Path, now: datetime) -> Path:
    """Give the file a second name; the first one still names the store until it is replaced."""
    kept = path.with_name(f"{path.name}.replaced-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup")
    for ending in ("-wal", "-shm"):  # of a damaged file only; they must not meet the restored one
        beside = Path(f"{path}{ending}")
        if beside.exists():
            beside.replace(f"{kept}{ending}")
    kept.hardlink_to(path)
    return kept


def _is_store(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(100)
    return header[:15] == b"SQLite format 3" and (
        int.from_bytes(header[68:72], "big") == APPLICATION_ID
    )


def _sync_directory(path: Path) -> None:
    directory = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _damaged(source: Path, said: str) -> StoreError:
    return StoreError(
        f"{str(source)!r} is damaged ({said}); restore another copy", slug="damaged-copy"
    )


def _cannot_write(path: Path, exc: OSError | sqlite3.Error) -> StoreError:
    reason = exc.strerror if isinstance(exc, OSError) else str(exc)
    return StoreError(
        f"cannot write {str(path)!r}: {reason}; check the directory and the free disk space",
        slug="cannot-write",
    )
