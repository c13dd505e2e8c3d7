"""A store URL becomes its store; the only place that names a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.store.protocol import Store

if TYPE_CHECKING:
    from sessionbat.server.store.sqlite.check import Finding
    from sessionbat.server.store.sqlite.salvage import Salvaged

__all__ = [
    "Store",
    "back_up",
    "check",
    "copies_beside",
    "open_existing_store",
    "open_store",
    "rebuild",
    "restore",
    "salvage",
    "store_exists",
]

_SQLITE = "sqlite:///"


def open_store(url: str, context_keys: Sequence[str] = ()) -> Store:
    """Open the store that a URL names, making a new one where there is none.

    Args:
        url: ``sqlite:///file.db`` for a path from the current directory, ``sqlite:////var/file.db``
            for an absolute one. Everything after the third slash is the path as it stands.
        context_keys: Keys of an event's context by which sessions can be filtered, beside the
            reserved ones. A new key is known of later events, and after a rebuild of all.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: The file cannot be opened, is no SessionBat store, or a newer one. It has not
            been touched.
    """
    path = _path_of(url)
    from sessionbat.server.store.sqlite.store import SqliteStore

    return SqliteStore(str(path), context_keys)


def store_exists(url: str) -> bool:
    """Whether there is something where a URL says; ``open_store`` would else make a new store.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
    """
    return _path_of(url).exists()


def open_existing_store(url: str, *, alone: bool = False) -> Store:
    """Open the store that a URL names, for a command: nothing is made where there is none.

    Args:
        url: As for ``open_store``.
        alone: Refuse when something else uses it.

    Raises:
        ConfigurationError: As for ``open_store``.
        StoreError: As for ``open_store``; there is none; or something uses it.
    """
    from sessionbat.server.store.sqlite import backup

    path = _path_of(url)
    backup.check_is_store(path)
    if alone:
        with backup.alone(path):
            pass
    return open_store(url)


def back_up(
    url: str,
    target: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Copy a store as it is at this moment into a file, which is a store itself.

    Whatever uses the store goes on. The file gets its name when it is whole and on the disk.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: There is no store, the file is there already, or it cannot be written.
    """
    from sessionbat.server.store.sqlite import backup

    backup.back_up(_path_of(url), target, overwrite=overwrite, on_progress=on_progress)


def restore(
    url: str,
    source: Path,
    *,
    now: datetime,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path | None:
    """Put what ``back_up`` made in the store's place; give the file in which the store is kept.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: The file is no store of this version or an older one, or is damaged; or
            something uses the store. Nothing has been changed.
    """
    from sessionbat.server.store.sqlite import backup

    return backup.restore(_path_of(url), source, now=now, on_progress=on_progress)


def check(
    url: str, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[Finding]:
    """Check a store from its pages to each event; others may go on using it, nothing is changed.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: There is no store.
    """
    from sessionbat.server.store.sqlite import backup, check

    path = _path_of(url)
    backup.check_is_store(path)
    return check.check(path, on_progress)


def salvage(
    url: str,
    target: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Salvaged:
    """Make a new store of everything that can be read out of a damaged one, which is not changed.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: Nothing can be read, the target is there already, or cannot be written.
    """
    from sessionbat.server.store.sqlite import rescue

    return rescue.rescue(_path_of(url), target, on_progress)


def rebuild(
    url: str,
    *,
    now: datetime,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[int, Path | None]:
    """Make everything derived anew from the events; nothing else may use the store.

    Where what is derived is damaged and cannot be replaced in its place, a new file is made of the
    events, and the old one is kept beside it.

    Returns:
        How many events there are, and the kept file, if there is one.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: Something uses it; or events themselves cannot be read: ``salvage`` says which.
    """
    from sessionbat.server.store.sqlite import rescue

    store = None
    try:
        store = open_existing_store(url, alone=True)
        store.rebuild(on_progress)
        return store.count_events(), None
    except StoreError as exc:
        if not rescue.is_damage(exc):
            raise
    finally:
        if store is not None:
            store.close()
    return rescue.renew(_path_of(url), now, on_progress)


def copies_beside(url: str) -> list[Path]:
    """Find the backups that lie beside a store."""
    from sessionbat.server.store.sqlite import backup

    return backup.copies_beside(_path_of(url))


def _path_of(url: str) -> Path:
    if not url.startswith(_SQLITE) or len(url) == len(_SQLITE):
        raise ConfigurationError(
            f"unknown store {url!r}; a store is sqlite:///FILE, for example"
            " sqlite:///sessionbat.db",
            slug="unknown-store",
        )
    return Path(url.removeprefix(_SQLITE))
