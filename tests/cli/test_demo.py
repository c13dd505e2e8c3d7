"""``sessionbat demo``: one run by default, since each imports a whole agent framework."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.cli.command import get, run, serving


@pytest.mark.slow
def test_demo_once_shows_what_was_recorded_and_where(tmp_path: Path) -> None:
    done = run("demo", "--once", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"Open http://127\.0\.0\.1:\d+/sessions", done.stdout)
    assert re.search(r"^ *tool loop +2 ", done.stdout, re.MULTILINE)
    assert int(re.search(r"^ *total +(\d+)", done.stdout, re.MULTILINE)[1]) >= 30  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_on_until_it_is_told_to_stop_and_leaves_nothing(
    number: int, tmp_path: Path
) -> None:
    with serving("demo", cwd=tmp_path) as (process, url):
        assert json.loads(get(f"{url}/api/v1/sessions?app=support-bot"))["items"]
        process.send_signal(number)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_demo_keeps_each_run_in_the_store_that_it_is_given(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("demo", "--once", "--store", "sqlite:///kept.db", cwd=tmp_path).returncode == 0
    with serving("serve", "--port", "0", "--store", "sqlite:///kept.db", cwd=tmp_path) as (_, url):
        page = json.loads(get(f"{url}/api/v1/sessions?limit=200"))
    assert len(page["items"]) >= 60


@pytest.mark.slow
def test_demo_takes_neither_key_nor_endpoint_from_the_environment(tmp_path: Path) -> None:
    elsewhere = {"SESSIONBAT_ENDPOINT": "http://127.0.0.1:9", "SESSIONBAT_API_KEY": "not mine"}
    assert run("demo", "--once", cwd=tmp_path, environment=elsewhere).returncode == 0


@pytest.mark.slow
def test_demo_that_records_nothing_does_not_look_like_success(tmp_path: Path) -> None:
    done = run("demo", "--once", cwd=tmp_path, environment={"SESSIONBAT_ENABLED": "0"})
    assert done.returncode == 1
    assert "The server has 0 of" in done.stdout
