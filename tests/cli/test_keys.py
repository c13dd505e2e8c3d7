"""``sessionbat keys``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from sessionbat.server.store.opening import open_store
from tests.cli.command import CHAT, get, run, serving

#: Each starts processes: run by CI.
pytestmark = pytest.mark.slow


def test_a_key_alone_is_printed_and_shown_once(tmp_path: Path) -> None:
    made = run("keys", "create", "--app", "support-bot", "--name", "CI", cwd=tmp_path)
    assert made.returncode == 0
    (key,) = made.stdout.splitlines()
    assert re.fullmatch(r"sbat_ingest_[a-z0-9]{40}", key)
    assert "support-bot" in made.stderr
    assert key not in made.stderr
    listed = run("keys", "list", cwd=tmp_path)
    assert key[12:20] in listed.stdout
    assert key[20:] not in listed.stdout
    assert [each in listed.stdout for each in ("ingest", "support-bot", "CI", "UTC")] == [True] * 4


def test_a_key_is_revoked_by_its_id(tmp_path: Path) -> None:
    key = run("keys", "create", "--kind", "read", cwd=tmp_path).stdout.strip()
    assert "every app" in run("keys", "list", cwd=tmp_path).stdout
    before = run("keys", "list", cwd=tmp_path).stdout
    done = run("keys", "revoke", key[10:18], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"Revoked {key[10:18]}.\n")
    after = run("keys", "list", cwd=tmp_path).stdout
    assert (before.count("UTC"), after.count("UTC")) == (1, 2)


def test_a_store_without_keys_says_so(tmp_path: Path) -> None:
    run("keys", "create", "--kind", "admin", "--app", "x", cwd=tmp_path)  # refused
    assert list(tmp_path.iterdir()) == []
    open_store(f"sqlite:///{tmp_path}/sessionbat.db").close()
    assert run("keys", "list", cwd=tmp_path).stdout.startswith("No keys in sqlite:///sessionbat.db")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], r"--app NAME \[key-app\]"),
        (["create", "--kind", "admin", "--app", "x"], r"every app.*\[key-app\]"),
        (["create", "--app", ""], r"got ''.*\[key-app\]"),
        (["create", "--app", "x", "--name", "a\nb"], r"\[key-name\]"),
        (["create", "--app", "x", "--store", "mysql://db"], r"'mysql://db'.*\[unknown-store\]"),
        (["list"], r"'sessionbat.db'.*--store \[no-store\]"),
        (["revoke", "abcdefgh"], r"'sessionbat.db'.*--store \[no-store\]"),
    ],
)
def test_a_command_on_keys_that_cannot_work_is_one_line_and_makes_nothing(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = run("keys", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.search(said, line)
    assert list(tmp_path.iterdir()) == []


def test_revoking_what_is_no_id_of_a_key_is_one_line_that_does_not_repeat_it(
    tmp_path: Path,
) -> None:
    key = run("keys", "create", "--app", "x", cwd=tmp_path).stdout.strip()
    done = run("keys", "revoke", key, cwd=tmp_path)  # the whole key, as somebody may well try
    assert done.returncode == 2
    assert "[no-such-key]" in done.stderr
    assert key[20:] not in done.stderr


def test_keys_work_on_a_running_server_and_the_sdk_delivers_with_one(tmp_path: Path) -> None:
    with serving("serve", "--port", "0", cwd=tmp_path) as (_, address):
        ingest = run("keys", "create", "--app", "imported", cwd=tmp_path).stdout.strip()
        reader = run("keys", "create", "--kind", "read", cwd=tmp_path).stdout.strip()
        chat = tmp_path / "chat.jsonl"
        chat.write_text(CHAT)
        arguments = ("import", "chat.jsonl", "--app", "imported", "--endpoint", address)
        done = run(*arguments, cwd=tmp_path, environment={"SESSIONBAT_API_KEY": ingest})
        assert done.returncode == 0, done.stderr
        with pytest.raises(HTTPError, match="401"):
            get(f"{address}/api/v1/sessions")
        url = Request(f"{address}/api/v1/sessions", headers={"Authorization": f"Bearer {reader}"})
        assert json.loads(get(url))["items"][0]["app"] == "imported"
        run("keys", "revoke", reader[10:18], cwd=tmp_path)
        with pytest.raises(HTTPError, match="401"):
            get(url)


def test_the_demo_does_not_play_into_a_store_with_keys(tmp_path: Path) -> None:
    run("keys", "create", "--app", "x", "--store", "sqlite:///mine.db", cwd=tmp_path)
    done = run("demo", "--once", "--store", "sqlite:///mine.db", cwd=tmp_path)
    assert done.returncode == 2
    assert "[demo-keys]" in done.stderr
