"""What ``import sessionbat`` loads: little, since every process of the host pays for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"


def test_importing_the_package_loads_no_framework_no_server_and_no_http_client() -> None:
    code = "import sys; import sessionbat; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in loaded if name.startswith("sessionbat")}
    assert ours == {
        "sessionbat",
        "sessionbat._at_import",
        "sessionbat._generators",
        "sessionbat._current",
        "sessionbat._interaction",
        "sessionbat._session",
        "sessionbat._version",
        "sessionbat.accounting",
        "sessionbat.client",
        "sessionbat.errors",
        "sessionbat.event",
        "sessionbat.transports",
    }
    heavy = {
        "asyncio", "dataclasses", "http", "inspect", "json", "logging", "orjson", "socket", "ssl",
        "urllib", "urllib3", "starlette", "uvicorn", "langchain_core", "langgraph", "sqlite3",
        "click", "rich", "jinja2", "zstandard",
    }  # fmt: skip
    assert heavy & {name.partition(".")[0] for name in loaded} == set()


@pytest.mark.parametrize(
    ("transport", "is_loaded"),
    [
        ("IngestionTransport(endpoint='http://127.0.0.1:9', spool=False)", False),
        ("MemoryTransport()", False),
        ("StdoutTransport()", False),
        ("OTLPTransport('http://127.0.0.1:9', spool=False)", True),
    ],
)
def test_only_a_client_that_sends_spans_loads_what_writes_them(
    transport: str, is_loaded: bool
) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from sessionbat import SessionBat
from sessionbat.transports import *
SessionBat(app="a", transport={transport}).close(0)
print(any("otlp" in name or "_otel" in name for name in sys.modules))
"""
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert run.stdout == f"{is_loaded}\n", run.stderr
