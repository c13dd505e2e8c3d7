"""``sessionbat serve``, as a process that is told to stop."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.command import get, serving


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_serve_answers_until_it_is_told_to_stop(number: int, tmp_path: Path) -> None:
    with serving("serve", "--port", "0", cwd=tmp_path) as (process, url):
        assert get(f"{url}/healthz")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert (tmp_path / "sessionbat.db").exists()
