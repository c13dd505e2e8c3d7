"""``sessionbat import``."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.cli.command import CHAT, get, row, run, serving, start


@pytest.mark.slow
def test_import_tells_where_to_what_and_how_much(tmp_path: Path) -> None:
    (tmp_path / "[b]chats.jsonl").write_text(CHAT)
    with serving("serve", "--port", "0", cwd=tmp_path) as (_, url):
        done = run("import", "[b]chats.jsonl", "--endpoint", url, cwd=tmp_path)
    assert done.returncode == 0
    assert f"Importing [b]chats.jsonl into {url}/api/v1/ingestion/events" in done.stderr
    assert row(done.stdout, "app") == "[b]chats"
    assert row(done.stdout, "sessions") == row(done.stdout, "llm observations") == "1"
    assert (row(done.stdout, "delivered"), row(done.stdout, "not delivered")) == ("1", "0")


@pytest.mark.slow
def test_import_reports_bad_lines_by_number_and_ends_with_1(tmp_path: Path) -> None:
    with serving("serve", "--port", "0", cwd=tmp_path) as (_, url):
        text = CHAT + '{"session_id": "t", "messages": [{"content": "[red]"}]}\n' + "{\n"
        done = run("import", "-", "--app", "piped", "--endpoint", url, input=text, cwd=tmp_path)
        (session,) = json.loads(get(f"{url}/api/v1/sessions"))["items"]
    assert done.returncode == 1
    assert "line 2 skipped: messages[0].role is missing" in done.stderr
    assert "line 3 skipped: not JSON" in done.stderr
    assert "2 of 3 lines could not be read and were skipped." in done.stderr
    assert (session["app"], session["session_id"]) == ("piped", "s")


@pytest.mark.slow
def test_import_lists_a_hundred_bad_lines_and_counts_the_rest(tmp_path: Path) -> None:
    arguments = ("import", "-", "--endpoint", "http://127.0.0.1:9")
    done = run(*arguments, input="{\n" * 150, cwd=tmp_path)
    assert done.returncode == 1
    assert len(re.findall(r"^line \d+ skipped", done.stderr, re.MULTILINE)) == 100
    assert "150 of 150 lines could not be read" in done.stderr


@pytest.mark.slow
def test_import_with_recording_turned_off_says_so(tmp_path: Path) -> None:
    done = run(
        "import",
        "-",
        "--endpoint",
        "http://127.0.0.1:9",
        input=CHAT,
        cwd=tmp_path,
        environment={"SESSIONBAT_ENABLED": "0"},
    )
    assert done.returncode == 1
    assert "1 observations were not recorded: is SESSIONBAT_ENABLED off?" in done.stderr


def test_ctrl_c_ends_an_import_quietly(tmp_path: Path) -> None:
    process = start("import", "-", "--endpoint", "http://127.0.0.1:9", cwd=tmp_path)
    assert process.stderr is not None
    with process:
        process.stderr.readline()  # it says where it imports to, then waits for its input
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert "Traceback" not in process.stderr.read()
