"""The pause between tries, made short for suites that count tries rather than seconds."""

from __future__ import annotations

import pytest

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
