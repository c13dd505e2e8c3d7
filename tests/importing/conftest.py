"""The server that files are brought to, and a file of real sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "airline-agent-sessions.jsonl"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with running(Settings(port=0, store_url=f"sqlite:///{tmp_path / 'store.db'}")) as url:
        yield url


@pytest.fixture
def airline() -> Path:
    if not AIRLINE.exists():
        if "CI" in os.environ:
            pytest.fail(f"{AIRLINE} is missing, and under CI it must be there")
        pytest.skip(f"{AIRLINE} is not here")
    return AIRLINE
