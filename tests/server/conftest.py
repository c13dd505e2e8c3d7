from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.access.keys import id_of, new_key
from sessionbat.server.records import KeyKind
from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.server.store.opening import open_store
from tests.server.wire import Wire


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Wire]]:
    """Start servers with settings of one's own; all stop when the test ends."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Wire:
            url = f"sqlite:///{tmp_path / 'store.db'}"
            return Wire(
                stack.enter_context(running(Settings(port=0, **{"store_url": url, **settings})))
            )

        yield start


@pytest.fixture
def server(start_server: Callable[..., Wire]) -> Wire:
    """A server with an empty store."""
    return start_server()


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[..., str]:
    """Make keys in the store of the test's server, as another process would."""

    def make(kind: KeyKind, app: str | None = None, *origins: str) -> str:
        key, stored = new_key(kind, app, "", origins)
        store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
        store.add_key(stored)
        store.close()
        return key

    return make


@pytest.fixture
def revoke_key(tmp_path: Path) -> Callable[[str], None]:
    """Revoke keys, as another process would."""

    def revoke(key: str) -> None:
        store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
        key_id = id_of(key)
        assert key_id is not None
        assert store.revoke_key(key_id)
        store.close()

    return revoke


@pytest.fixture(scope="session")
def standing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One server for all tests that store nothing; starting one takes a quarter of a second."""
    url = f"sqlite:///{tmp_path_factory.mktemp('standing') / 'store.db'}"
    with running(Settings(port=0, store_url=url)) as base:
        yield Wire(base)
