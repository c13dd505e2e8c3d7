"""A store URL becomes its store; the only place that names a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sessionbat.errors import ConfigurationError
from sessionbat.server.store.protocol import Store

__all__ = ["Store", "open_store", "store_exists"]

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
    path = _path(url)
    from sessionbat.server.store.sqlite import SqliteStore

    return SqliteStore(path, context_keys)


def store_exists(url: str) -> bool:
    """Whether there is something where a URL says; ``open_store`` would else make a new store.

    Raises:
        ConfigurationError: The URL names no store that this server knows.
    """
    return Path(_path(url)).exists()


def _path(url: str) -> str:
    if not url.startswith(_SQLITE) or len(url) == len(_SQLITE):
        raise ConfigurationError(
            f"unknown store {url!r}; a store is sqlite:///FILE, for example"
            " sqlite:///sessionbat.db",
            slug="unknown-store",
        )
    return url.removeprefix(_SQLITE)
