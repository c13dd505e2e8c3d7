"""What the OpenAPI document says, asked of a real server by schemathesis.

The store holds real sessions, so answers are not empty; ingestion gets what its schema allows and
what it forbids. Nothing may fail, and no status, header or shape be another than the document says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.wire import Wire, event

#: Two checks less: what a schema of text allows may still not be a cursor, a gzip stream, or a time
#: that is near enough to another; and a batch is answered 202 whatever is in it, as each event is
#: judged alone.
CONFIGURATION = """
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-path = "/api/v1/ingestion/events"
checks.negative_data_rejection.enabled = false

[[operations]]
include-path-regex = "/v1/(traces|logs|metrics)$"
checks.negative_data_rejection.enabled = false
"""


def run_schemathesis(server: Wire, directory: Path, *options: str) -> None:
    kinds = ("llm", "tool", "retrieval")
    server.send(
        [
            event(f"e{n}", type=kinds[n % 3], observation__output={"text": f"reset link {n}"})
            for n in range(500)
        ]
    )
    (directory / "schemathesis.toml").write_text(CONFIGURATION)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/v1/openapi.json"),
            *("--warnings", "off", "--continue-on-failure", "--request-timeout", "20", *options),
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(Path(__file__).parent),
            "NO_COLOR": "1",
        },
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8_000:] + run.stderr[-2_000:]
    assert server.get("/healthz").status == 200


@pytest.mark.slow
def test_the_server_does_what_its_document_says(server: Wire, tmp_path: Path) -> None:
    run_schemathesis(server, tmp_path, "--max-examples", "20", "--seed", "1")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_server_does_what_its_document_says_at_length(server: Wire, tmp_path: Path) -> None:
    run_schemathesis(server, tmp_path, "--max-examples", "500")
