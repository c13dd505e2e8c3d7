"""What ``import sessionbat`` loads: little, since every process of the host pays for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
