"""The fixtures of ``sessionbat.testing``. The one file of the SDK that imports pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessionbat.testing._fault_endpoint import Endpoint
from sessionbat.testing._recording import Recording


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """A client of the test's own and what is recorded with it; see ``Recording``."""
    # A machine where recording is turned off should run the tests all the same.
    monkeypatch.delenv("SESSIONBAT_ENABLED", raising=False)
    with Recording() as running:
        yield running


@pytest.fixture
def ingestion_endpoint() -> Iterator[Endpoint]:
    """A real endpoint on loopback that takes everything, until told otherwise."""
    with Endpoint() as running:
        yield running
