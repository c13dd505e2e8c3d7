"""Fixtures of the fault suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import worker as worker_module


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other quickly; how long real waits are is tested in test_retry.py."""
    init = worker_module.Worker.__init__
    monkeypatch.setattr(
        worker_module.Worker,
        "__init__",
        lambda self, destination, options: init(self, destination, options, lambda tries: 0.02),
    )


Record = Callable[..., list[str]]


@pytest.fixture
def record() -> Record:
    """Record some model calls; returns their ids."""

    def record_some(client: SessionBat, count: int, text: str = "hello") -> list[str]:
        interaction = client.session(session_id="s").interaction()
        return [interaction.llm(model="m", input=text, output=str(n)) for n in range(count)]

    return record_some
