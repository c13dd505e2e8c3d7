"""The command as its users run it: in a process of its own, by its output and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from sessionbat import __version__

SOURCE = Path(__file__).parents[1] / "src"
CHAT = '{"session_id": "s", "messages": [{"role": "user"}, {"role": "assistant"}]}\n'

# Stands in for an environment without some packages: importing them fails as if they were missing.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["sessionbat", *{arguments!r}]
from sessionbat.__main__ import main
sys.exit(main())
"""


# Without extras


def test_without_the_command_lines_packages_one_line_says_what_to_install() -> None:
    done = run_without(["click", "rich"], "demo")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        'sessionbat: the command line needs click: pip install "sessionbat[server]" [no-cli]'
    ]


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["demo", "--once"]])
def test_without_the_servers_packages_one_line_says_what_to_install(command: list[str]) -> None:
    done = run_without(["starlette", "uvicorn", "jinja2", "httptools", "zstandard"], *command)
    assert done.returncode == 2
    assert re.fullmatch(
        r'sessionbat: this needs \w+: pip install "sessionbat\[server\]" \[no-server\]\n',
        done.stderr,
    )


def test_a_broken_installation_is_not_taken_for_a_missing_extra() -> None:
    done = run_without(["orjson"], "demo", "--once")
    assert "No module named 'orjson'" in done.stderr
    assert "pip install" not in done.stderr


def test_the_version_is_told_without_loading_what_commands_run() -> None:
    done = run_without(["starlette", "uvicorn", "urllib3", "jinja2"], "--version")
    assert (done.returncode, done.stdout) == (0, f"sessionbat {__version__}\n")


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--store", "mysql://db"], r"'mysql://db'.*sqlite:///.*\[unknown-store\]"),
        (["demo", "--once", "--store", "nowhere"], r"'nowhere'.*sqlite:///.*\[unknown-store\]"),
        (["serve", "--host", "0.0.0.0"], r"'0.0.0.0'.*keys create.*\[no-keys\]"),
        (["serve", "--allowed-host", "s.example"], r"'s.example'.*keys create.*\[no-keys\]"),
        (["serve", "--host", "http://x"], r"'http://x'.*\[bad-host\]"),
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
def test_what_cannot_work_is_one_line_and_code_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "chat.jsonl").write_text(CHAT)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(said, line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.jsonl"]


# Keys


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
    (tmp_path / "sessionbat.db").touch()
    assert run("keys", "list", cwd=tmp_path).stdout.startswith("No keys in sqlite:///sessionbat.db")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], r"--app NAME \[key-app\]"),
        (["create", "--kind", "admin", "--app", "x"], r"every app.*\[key-app\]"),
        (["create", "--app", ""], r"got ''.*\[key-app\]"),
        (["create", "--app", "x", "--name", "a\nb"], r"\[key-name\]"),
        (["create", "--app", "x", "--store", "mysql://db"], r"'mysql://db'.*\[unknown-store\]"),
        (["list"], r"sqlite:///sessionbat.db.*--store \[no-store\]"),
        (["revoke", "abcdefgh"], r"sqlite:///sessionbat.db.*--store \[no-store\]"),
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


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_in_use_is_one_line_and_code_2(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(command, "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(rf"port {port} .*in use.*\[port-in-use\]", line)


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


# serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_told_to_stop(number: int, tmp_path: Path) -> None:
    with serving("serve", "--port", "0", cwd=tmp_path) as (process, url):
        assert get(f"{url}/healthz")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert (tmp_path / "sessionbat.db").exists()


# import


def test_import_tells_where_to_what_and_how_much(tmp_path: Path) -> None:
    (tmp_path / "[b]chats.jsonl").write_text(CHAT)
    with serving("serve", "--port", "0", cwd=tmp_path) as (_, url):
        done = run("import", "[b]chats.jsonl", "--endpoint", url, cwd=tmp_path)
    assert done.returncode == 0
    assert f"Importing [b]chats.jsonl into {url}/api/v1/ingestion/events" in done.stderr
    assert row(done.stdout, "app") == "[b]chats"
    assert row(done.stdout, "sessions") == row(done.stdout, "llm observations") == "1"
    assert (row(done.stdout, "delivered"), row(done.stdout, "not delivered")) == ("1", "0")


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


def test_import_lists_a_hundred_bad_lines_and_counts_the_rest(tmp_path: Path) -> None:
    arguments = ("import", "-", "--endpoint", "http://127.0.0.1:9")
    done = run(*arguments, input="{\n" * 150, cwd=tmp_path)
    assert done.returncode == 1
    assert len(re.findall(r"^line \d+ skipped", done.stderr, re.MULTILINE)) == 100
    assert "150 of 150 lines could not be read" in done.stderr


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


# demo


def test_demo_once_shows_what_was_recorded_and_where(tmp_path: Path) -> None:
    done = run("demo", "--once", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"Open http://127\.0\.0\.1:\d+/sessions", done.stdout)
    assert re.search(r"^ *tool loop +2 ", done.stdout, re.MULTILINE)
    assert int(re.search(r"^ *total +(\d+)", done.stdout, re.MULTILINE)[1]) >= 30  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_on_until_it_is_told_to_stop_and_leaves_nothing(
    number: int, tmp_path: Path
) -> None:
    with serving("demo", cwd=tmp_path) as (process, url):
        assert json.loads(get(f"{url}/api/v1/sessions?app=support-bot"))["items"]
        process.send_signal(number)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_demo_keeps_each_run_in_the_store_that_it_is_given(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("demo", "--once", "--store", "sqlite:///kept.db", cwd=tmp_path).returncode == 0
    with serving("serve", "--port", "0", "--store", "sqlite:///kept.db", cwd=tmp_path) as (_, url):
        page = json.loads(get(f"{url}/api/v1/sessions?limit=200"))
    assert len(page["items"]) >= 60


def test_demo_takes_neither_key_nor_endpoint_from_the_environment(tmp_path: Path) -> None:
    elsewhere = {"SESSIONBAT_ENDPOINT": "http://127.0.0.1:9", "SESSIONBAT_API_KEY": "not mine"}
    assert run("demo", "--once", cwd=tmp_path, environment=elsewhere).returncode == 0


def test_demo_that_records_nothing_does_not_look_like_success(tmp_path: Path) -> None:
    done = run("demo", "--once", cwd=tmp_path, environment={"SESSIONBAT_ENABLED": "0"})
    assert done.returncode == 1
    assert "The server has 0 of" in done.stdout


# Running


def environment_of(cwd: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SESSIONBAT_")}
    return kept | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(cwd), "COLUMNS": "200"} | (more or {})


def run(
    *arguments: str, cwd: Path, input: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sessionbat", *arguments],
        cwd=cwd,
        env=environment_of(cwd, environment),
        input=input,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def run_without(missing: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=list(missing), arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of(Path.cwd()),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sessionbat", *arguments],
        cwd=cwd,
        env=environment_of(cwd),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(*arguments: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command that serves; gives the process and its address, and ends it."""
    process = start(*arguments, cwd=cwd)
    assert process.stdout is not None
    with process:
        try:
            for line in process.stdout:
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield process, address[0]
                    break
            else:
                raise AssertionError(f"no address; {process.stderr and process.stderr.read()}")
        finally:
            process.terminate()


def get(url: str | Request) -> bytes:
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def row(table: str, name: str) -> str:
    return re.search(rf"^ *{name} +(\S+) *$", table, re.MULTILINE)[1]  # type: ignore[index]
