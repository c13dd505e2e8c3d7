from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from tests.server.pages.markup import Document
from tests.server.pages.payloads import KINDS, hostile_events, long_agent_session, odd_events
from tests.server.wire import Wire, event


@pytest.fixture
def read(server: Wire) -> Callable[..., Document]:
    """Open a page of the test's own server; anything but 200 fails the test."""
    return _reader(server)


@pytest.fixture(scope="session")
def exhibition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One server for all tests that only look: a plain, a long, a hostile and four odd sessions."""
    url = f"sqlite:///{tmp_path_factory.mktemp('exhibition') / 'store.db'}"
    with running(Settings(port=0, store_url=url)) as base:
        wire = Wire(base)
        for events in (
            [event()],
            long_agent_session(60),
            hostile_events(),
            *map(odd_events, KINDS),
        ):
            assert wire.send(events).json["rejected"] == []
        yield wire


@pytest.fixture
def look(exhibition: Wire) -> Callable[..., Document]:
    """Open a page of the exhibition."""
    return _reader(exhibition)


def _reader(server: Wire) -> Callable[..., Document]:
    def open_page(path: str, **parameters: str) -> Document:
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
        answer = server.request("GET", f"{path}?{query}" if query else path)
        assert answer.status == 200, answer.body
        return Document(answer.body.decode())

    return open_page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium. Missing, tests skip, except under CI."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None or not Path(executable).exists():
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed: apt-get install chromium")
        pytest.skip("chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                # No name resolves: nothing but a server on this machine can be reached.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()
