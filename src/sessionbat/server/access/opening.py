"""The store as a server opens it: with a key where others than this machine's users reach it."""

from __future__ import annotations

from sessionbat.errors import ConfigurationError
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import Store, open_store, store_exists


def open_guarded_store(settings: Settings) -> tuple[Store, bytes]:
    """Open the store, and give its signing secret.

    What is refused is left as it was: not there, or closed.

    Raises:
        ConfigurationError: The store URL names no known store, or there is no usable key although
            others than this machine's users are to reach the server.
        StoreError: The store cannot be used.
    """
    if settings.needs_keys and not store_exists(settings.store_url):
        raise _no_keys(settings)
    store = open_store(settings.store_url, settings.context_keys)
    try:
        if settings.needs_keys and all(key.revoked_at for key in store.list_keys()):
            raise _no_keys(settings)
        return store, store.signing_secret()
    except BaseException:
        store.close()
        raise


def _no_keys(settings: Settings) -> ConfigurationError:
    return ConfigurationError(
        f"host {settings.beyond_loopback[0]!r} is not on loopback, and {settings.store_url} has no"
        " key to guard it; make one first: sessionbat keys create --kind admin --store"
        f" {settings.store_url} (or serve on 127.0.0.1)",
        slug="no-keys",
    )
