"""Fixtures that every part's tests share."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from sessionbat import SessionBat
from sessionbat.testing import Endpoint, receipt

# A shell's background job ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine pauses for longer than Hypothesis lets one example take.
hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture(autouse=True)
def _settings_of_the_tests_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in ("API_KEY", "ENDPOINT", "APP", "ENABLED"):
        monkeypatch.delenv(f"SESSIONBAT_{name}", raising=False)
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that takes batches, until the test gives it another behaviour."""
    running = Endpoint(receipt)
    yield running
    running.close()
    assert not running.malformed


@pytest.fixture
def new_client(endpoint: Endpoint) -> Iterator[Callable[..., SessionBat]]:
    """Make clients; at the end of the test the counts of each must add up."""
    made: list[SessionBat] = []

    def make(**options: Any) -> SessionBat:
        options.setdefault("app", "test-app")
        options.setdefault("endpoint", endpoint.url)
        client = SessionBat(**options)
        made.append(client)
        return client

    yield make
    for client in made:
        assert_adds_up(client)
        client.close(timeout=0)
        assert_adds_up(client)


@pytest.fixture
def client(new_client: Callable[..., SessionBat]) -> SessionBat:
    return new_client()


def assert_adds_up(client: SessionBat) -> None:
    """Every recorded event is in exactly one state."""
    stats = client.stats()
    assert stats.recorded == (
        stats.delivered + stats.pending + stats.spooled + sum(stats.dropped.values())
    )
    assert min(stats.recorded, stats.delivered, stats.pending, stats.spooled) >= 0


def eventually(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Wait until a condition holds and return what it says; fail when it never does."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came true")
        time.sleep(0.005)  # between two looks
    return value
