"""Opens the server's store, and refuses to serve beyond loopback without a usable key."""

from __future__ import annotations

from sessionbat.errors import ConfigurationError
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import Store, open_store, store_exists


def open_guarded_store(settings: Settings) -> tuple[Store, bytes]:
    """Open the store and return it with its signing secret.

    A refusal leaves no trace: no new file, and no open store.

    Raises:
        ConfigurationError: The store URL names no known store, the file with prices cannot be used,
            or there is no usable key although the server can be reached from beyond this machine.
        StoreError: The store cannot be used.
    """
    if settings.needs_keys and not store_exists(settings.store_url):
        raise _no_keys(settings)
    store = open_store(settings.store_url, settings.context_keys, settings.prices)
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
