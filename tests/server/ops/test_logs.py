"""The server's log: two forms, nothing of a payload in either, and never a flood."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessionbat.server.background import Seldom
from sessionbat.server.ops.logs import LogFormat, configure_logging
from sessionbat.server.read_api import endpoints
from tests.server.test_serving import free_port, wait_until_healthy, wire_to
from tests.server.wire import PATH, Wire, event

LOG = logging.getLogger("sessionbat.server.test")


@contextmanager
def logging_to(form: LogFormat) -> Iterator[io.StringIO]:
    """Log into a text; the test runner's own handlers come back at the end."""
    root, ours = logging.getLogger(), logging.getLogger("sessionbat")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    for handler in handlers:
        root.removeHandler(handler)
    stream = io.StringIO()
    configure_logging(form, stream)
    try:
        yield stream
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(our_level)


def test_a_line_of_text_says_when_how_bad_and_what() -> None:
    with logging_to("text") as stream:
        LOG.warning("refused %d bodies [refused-bodies]", 3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING refused 3 bodies \[refused-bodies\]\n",
        stream.getvalue(),
    )


def test_a_line_of_json_has_the_slug_and_the_figures_apart() -> None:
    with logging_to("json") as stream:
        LOG.warning("refused %d bodies [refused-bodies]", 3, extra={"fields": {"count": 3}})
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("level", "slug", "message", "count")} == {
        "level": "warning",
        "slug": "refused-bodies",
        "message": "refused 3 bodies",
        "count": 3,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_told_by_type_and_place_and_not_by_its_message(form: LogFormat) -> None:
    with logging_to(form) as stream:
        try:
            raise ValueError("s3" + "cret")  # the line itself is shown
        except ValueError:
            LOG.exception("failed [internal-error]")
    assert "ValueError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert "s3cret" not in stream.getvalue()


def test_a_line_break_in_a_value_begins_no_line() -> None:
    with logging_to("text") as stream:
        LOG.warning("store %s", "a\nb")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.slow
def test_frequent_events_are_logged_once_a_minute_with_their_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    seldom = Seldom(LOG, "refused-bodies", "refused %d bodies: %s", clock=lambda: now)
    for _ in range(5):
        seldom.note("busy")
    seldom.note("not-json")
    now = 61.0
    seldom.note("busy")
    seldom.note("busy")
    seldom.close()
    assert [record.getMessage() for record in caplog.records] == [
        "refused 1 bodies: busy [refused-bodies]",
        "refused 1 bodies: not-json [refused-bodies]",
        "refused 5 bodies: busy [refused-bodies]",
        "refused 1 bodies: busy [refused-bodies]",
    ]


def test_a_slow_question_is_logged_by_its_parameters_and_not_by_their_values(
    server: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(endpoints, "_SLOW", 0.0)
    server.get("/api/v1/search", q="s3cret")
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"search took \d+\.\d s, asked by q \[slow-query\]", line)


@contextmanager
def command(directory: Path, port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sessionbat", "serve", "--port", str(port)),
            *("--store", f"sqlite:///{directory / 'store.db'}", *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_healthy(wire_to(port))
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_json_log_is_json_from_the_start_to_the_stop(tmp_path: Path) -> None:
    port = free_port()
    with command(tmp_path, port, "--log-format", "json", "--access-log") as process:
        wire = wire_to(port)
        wire.send(event("s3cret", observation__input="s3cret"))
        wire.send(b"s3cret{")
        wire.get("/api/v1/search", q="s3cret")
        wire.request("GET", "/s3cret?s3cret=s3cret", headers={"Authorization": "Bearer s3cret"})
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=20)
    assert output == ""
    assert "s3cret" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[0]["slug"] == "started"
    assert lines[0]["url"] == f"http://127.0.0.1:{port}"
    assert lines[-1]["slug"] == "stopped"
    requests = [line for line in lines if line["slug"] == "request" and line["route"] == PATH]
    assert [(line["method"], line["status"]) for line in requests] == [("POST", 202), ("POST", 400)]
    assert {line["slug"] for line in lines} == {"started", "request", "refused-bodies", "stopped"}


@pytest.mark.slow
def test_a_log_of_text_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    port = free_port()
    with command(tmp_path, port) as process:
        wire_to(port).send(event())
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=20)
    assert output.startswith("SessionBat serves ")
    assert log == ""
