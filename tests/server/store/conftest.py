"""A directory with a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.store.filled import conversation, fill


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with a store of five sessions, as ``sessionbat.db``."""
    monkeypatch.chdir(tmp_path)
    fill("sessionbat.db", *(conversation(n) for n in range(5)))
    return tmp_path
