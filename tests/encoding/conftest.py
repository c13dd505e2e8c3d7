"""No code of a recorded value is run: each test of the encoder says so at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.encoding.values import SPRUNG


@pytest.fixture(autouse=True)
def _no_trap_is_sprung() -> Iterator[None]:
    SPRUNG.clear()
    yield
    assert SPRUNG == []
