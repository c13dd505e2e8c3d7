from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from wire import Wire

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings


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


@pytest.fixture(scope="session")
def standing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One server for all tests that store nothing; starting one takes a quarter of a second."""
    url = f"sqlite:///{tmp_path_factory.mktemp('standing') / 'store.db'}"
    with running(Settings(port=0, store_url=url)) as base:
        yield Wire(base)
