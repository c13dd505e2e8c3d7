"""Opens the store that a URL names; the only module that names a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sessionbat.errors import ConfigurationError, StoreError
from sessionbat.server.prices.estimating import estimator
from sessionbat.server.reading.usage import Estimate
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


def open_store(url: str, context_keys: Sequence[str] = (), prices: Path | None = None) -> Store:
    """Open the store that a URL names; creates it when it does not exist.

    Args:
        url: ``sqlite:///file.db`` for a path from the current directory, ``sqlite:////var/file.db``
            for an absolute one. Everything after the third slash is the path as it stands.
        context_keys: Context keys by which sessions can be filtered, in addition to the reserved
            ones. A new key applies to later events, and after a rebuild to all.
        prices: A file with prices of one's own, by which costs are estimated. They apply to later
            events, and after a rebuild to all.

    Raises:
        ConfigurationError: The URL names no store that this server knows, or the file with prices
            cannot be used.
        StoreError: The file cannot be opened, is no SessionBat store, or is of a newer version. It
            is unchanged.
    """
    return _open(_path_of(url), context_keys, estimator(prices))


def store_exists(url: str) -> bool:
    """Whether the store of a URL exists, or ``open_store`` would create it.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
    """
    return _path_of(url).exists()


def open_existing_store(url: str, *, alone: bool = False, prices: Path | None = None) -> Store:
    """Open an existing store, for a command; never creates one.

    Args:
        url: As for ``open_store``.
        alone: Refuse if another process has it open.
        prices: As for ``open_store``.

    Raises:
        ConfigurationError: As for ``open_store``.
        StoreError: As for ``open_store``; or it does not exist; or another process has it open.
    """
    from sessionbat.server.store.sqlite import backup

    path, estimate = _path_of(url), estimator(prices)
    backup.check_is_store(path)
    if alone:
        with backup.alone(path):
            pass
    return _open(path, (), estimate)


def back_up(
    url: str,
    target: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Copy a snapshot of a store into a file, which is a store itself.

    The store may be in use. The file gets its final name only when it is complete and on disk.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: There is no store, the file already exists, or it cannot be written.
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
    """Replace the store by a backup; returns the file to which the old store was moved.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: The file is no store of this version or an older one, or is damaged; or another
            process uses the store. Nothing is changed.
    """
    from sessionbat.server.store.sqlite import backup

    return backup.restore(_path_of(url), source, now=now, on_progress=on_progress)


def check(
    url: str, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[Finding]:
    """Check a store, from the file's pages to each event; read-only, and safe while it is in use.

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
    prices: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Salvaged:
    """Copy everything readable from a damaged store into a new one; the old one is unchanged.

    Args:
        url: As for ``open_store``.
        target: The new file.
        prices: As for ``open_store``; all estimates are made again.
        on_progress: Called with the events done and the total.

    Raises:
        ConfigurationError: As for ``open_store``.
        StoreError: Nothing can be read, the target already exists, or it cannot be written.
    """
    from sessionbat.server.store.sqlite import rescue

    return rescue.rescue(_path_of(url), target, on_progress, estimator(prices))


def rebuild(
    url: str,
    *,
    now: datetime,
    prices: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[int, Path | None]:
    """Rebuild all derived data from the events; nothing else may use the store.

    If damage prevents a rebuild in place, a new file is made from the events, and the old one is
    kept beside it.

    Args:
        url: As for ``open_store``.
        now: The current time.
        prices: As for ``open_store``; all estimates are made again.
        on_progress: Called with the events done and the total.

    Returns:
        The number of events, and the old file if it was kept.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
        StoreError: Another process uses it; or some events cannot be read: ``salvage`` lists them.
    """
    from sessionbat.server.store.sqlite import rescue

    store = None
    try:
        store = open_existing_store(url, alone=True, prices=prices)
        store.rebuild(on_progress)
        return store.count_events(), None
    except StoreError as exc:
        if not rescue.is_damage(exc):
            raise
    finally:
        if store is not None:
            store.close()
    return rescue.renew(_path_of(url), now, on_progress, estimator(prices))


def copies_beside(url: str) -> list[Path]:
    """Find the backups in a store's directory."""
    from sessionbat.server.store.sqlite import backup

    return backup.copies_beside(_path_of(url))


def _open(path: Path, context_keys: Sequence[str], estimate: Estimate) -> Store:
    from sessionbat.server.store.sqlite.store import SqliteStore

    return SqliteStore(str(path), context_keys, estimate=estimate)


def _path_of(url: str) -> Path:
    if not url.startswith(_SQLITE) or len(url) == len(_SQLITE):
        raise ConfigurationError(
            f"unknown store {url!r}; a store is sqlite:///FILE, for example"
            " sqlite:///sessionbat.db",
            slug="unknown-store",
        )
    return Path(url.removeprefix(_SQLITE))
