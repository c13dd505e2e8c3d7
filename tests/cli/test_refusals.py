"""What cannot work is one line on standard error and exit code 2."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from sessionbat.server.store.opening import open_store
from tests.cli.command import CHAT, run

#: Each starts processes: run by CI.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--store", "mysql://db"], r"'mysql://db'.*sqlite:///.*\[unknown-store\]"),
        (["demo", "--once", "--store", "nowhere"], r"'nowhere'.*sqlite:///.*\[unknown-store\]"),
        (["serve", "--host", "0.0.0.0"], r"'0.0.0.0'.*keys create.*\[no-keys\]"),
        (["serve", "--allowed-host", "s.example"], r"'s.example'.*keys create.*\[no-keys\]"),
        (["serve", "--host", "http://x"], r"'http://x'.*\[bad-host\]"),
        (["serve", "--prices", "absent.toml"], r"'absent.toml': No such file.*\[no-prices-file\]"),
        (["serve", "--prices", "chat.jsonl"], r"'chat.jsonl'.*no TOML.*\[bad-prices\]"),
        (["serve", "--port", "70000"], r"70000.*\[bad-port\]"),
        (["import", "absent.jsonl"], r"'absent.jsonl': No such file.*\[unreadable-file\]"),
        (["import", "."], r"'\.': Is a directory.*\[unreadable-file\]"),
        (
            ["import", "chat.jsonl", "--endpoint", "ingest.example.com"],
            r"http or https URL, got 'ingest.example.com'.*\[bad-endpoint\]",
        ),
        (["import", "chat.jsonl"], r"SESSIONBAT_API_KEY.*\[no-api-key\]"),
    ],
)
def test_a_command_that_cannot_work_prints_one_line_and_exits_with_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "chat.jsonl").write_text(CHAT)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(said, line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.jsonl"]


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_in_use_is_one_line_and_code_2(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(command, "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(rf"port {port} .*in use.*\[port-in-use\]", line)


@pytest.mark.parametrize("command", [["rebuild"], ["store", "salvage", "new.db"]])
def test_prices_that_cannot_be_used_change_no_store(command: list[str], tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'sessionbat.db'}").close()
    before = (tmp_path / "sessionbat.db").read_bytes()
    (tmp_path / "prices.toml").write_text("[models.x]\ninput = 1\n")
    done = run(*command, "--prices", "prices.toml", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(r"no price for output.*\[bad-prices\]", line)
    assert (tmp_path / "sessionbat.db").read_bytes() == before
    assert not (tmp_path / "new.db").exists()


def test_a_store_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    notes = tmp_path / "notes.db"
    notes.write_text("dear diary, " * 1000)
    done = run("serve", "--port", "0", "--store", "sqlite:///notes.db", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert notes.read_text() == "dear diary, " * 1000


def test_a_file_of_unknown_form_is_one_line_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"hello": 1}\n')
    done = run("import", "odd.jsonl", "--endpoint", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"line 1 of odd\.jsonl.*\[unknown-format\]", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
