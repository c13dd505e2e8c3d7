"""Keys and the signing secret outlive processes and are seen at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import (
    StoredKey,
)
from sessionbat.server.store.opening import Store, open_store, store_exists


def a_key(id: str = "k1", **changes: Any) -> StoredKey:
    given = {
        "kind": "ingest",
        "app": "support-bot",
        "name": "CI of Grüße 🦇",
        "digest": bytes(32),
        "created_at": "2026-11-22T16:00:00.123456Z",
        **changes,
    }
    return StoredKey(id, **given)


def test_a_key_comes_back_as_it_was_added(store: Store) -> None:
    keys = [a_key(), a_key("k2", kind="admin", app=None, created_at="2026-11-22T17:00:00.000001Z")]
    for key in reversed(keys):
        store.add_key(key)
    assert store.list_keys() == keys
    assert [store.find_key(key.id) for key in keys] == keys
    assert store.find_key("k3") is None


def test_a_store_knows_that_it_ever_had_a_key(store: Store) -> None:
    assert not store.has_keys()
    store.add_key(a_key())
    assert store.has_keys()
    store.revoke_key("k1")
    assert store.has_keys()


def test_a_revoked_key_stays_with_the_time_at_which_it_was_revoked_first(store: Store) -> None:
    store.add_key(a_key())
    store.add_key(a_key("k2"))
    assert store.revoke_key("k1")
    revoked = store.find_key("k1")
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert datetime.now(UTC) - datetime.fromisoformat(revoked.revoked_at) < timedelta(minutes=1)
    assert store.revoke_key("k1")
    assert store.list_keys() == [revoked, a_key("k2")]


def test_revoking_what_was_never_there_says_so(store: Store) -> None:
    assert not store.revoke_key("k1")


def test_two_keys_of_one_id_are_refused(store: Store) -> None:
    store.add_key(a_key())
    with pytest.raises(StoreError):
        store.add_key(a_key(kind="admin", app=None))
    assert store.find_key("k1") == a_key()


def test_keys_made_and_revoked_elsewhere_are_seen_at_once(store: Store, url: str) -> None:
    elsewhere = open_store(url)
    assert not store.has_keys()
    elsewhere.add_key(a_key())
    assert store.has_keys()
    assert store.find_key("k1") == a_key()
    elsewhere.revoke_key("k1")
    elsewhere.close()
    found = store.find_key("k1")
    assert found is not None
    assert found.revoked_at is not None


def test_keys_outlive_the_process_and_a_rebuild(url: str) -> None:
    store = open_store(url)
    store.add_key(a_key())
    store.rebuild()
    store.close()
    again = open_store(url)
    assert again.list_keys() == [a_key()]
    again.close()


def test_the_signing_secret_is_made_once_and_for_each_store(url: str, tmp_path: Path) -> None:
    store, elsewhere = open_store(url), open_store(url)
    secret = store.signing_secret()
    assert len(secret) == 32
    assert {store.signing_secret(), elsewhere.signing_secret()} == {secret}
    store.close()
    elsewhere.close()
    (tmp_path / "other").mkdir()
    other = open_store(url.replace(str(tmp_path), str(tmp_path / "other")))
    assert other.signing_secret() != secret
    other.close()


def test_a_store_exists_once_it_was_opened(url: str) -> None:
    assert not store_exists(url)
    open_store(url).close()
    assert store_exists(url)
