"""The command as its users run it: in a process of its own, by its output and its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

SOURCE = Path(__file__).parents[2] / "src"
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


def environment_of(cwd: Path, more: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SESSIONBAT_")}
    # A spool of its own: what the user's own programs left there would be told of.
    state = os.environ.get("SESSIONBAT_SPOOL_DIR", str(cwd))
    own = {"PYTHONPATH": str(SOURCE), "TMPDIR": str(cwd), "XDG_STATE_HOME": state}
    return kept | own | {"COLUMNS": "200"} | (more or {})


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
