"""Without the extras that a command needs, one line says what to install."""

from __future__ import annotations

import re

import pytest

from sessionbat import __version__
from tests.cli.command import run_without


def test_without_the_command_lines_packages_one_line_says_what_to_install() -> None:
    done = run_without(["click", "rich"], "demo")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        'sessionbat: the command line needs click: pip install "sessionbat[server]" [no-cli]'
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["demo", "--once"]])
def test_without_the_servers_packages_one_line_says_what_to_install(command: list[str]) -> None:
    done = run_without(["starlette", "uvicorn", "jinja2", "httptools", "zstandard"], *command)
    assert done.returncode == 2
    assert re.fullmatch(
        r'sessionbat: this needs \w+: pip install "sessionbat\[server\]" \[no-server\]\n',
        done.stderr,
    )


@pytest.mark.slow
def test_a_broken_installation_is_not_taken_for_a_missing_extra() -> None:
    done = run_without(["orjson"], "demo", "--once")
    assert "No module named 'orjson'" in done.stderr
    assert "pip install" not in done.stderr


def test_the_version_is_told_without_loading_what_commands_run() -> None:
    done = run_without(["starlette", "uvicorn", "urllib3", "jinja2"], "--version")
    assert (done.returncode, done.stdout) == (0, f"sessionbat {__version__}\n")
