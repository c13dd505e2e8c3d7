"""A process ends without a close: the LangChain runs it has open arrive as unfinished, once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from sessionbat.spooled import list_spools, read_events
from sessionbat.testing import Answer, Endpoint, unused_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROGRAM = Path(__file__).parent / "open_at_exit.py"
SOURCE = Path(__file__).parent.parent.parent / "src"
ENDS = {"failing": 1, "leaving": 3}


def run(form: str, url: str, method: str = "fork", **settings: str) -> int:
    """Run a program to its end; how many runs its processes have left open."""
    done = ended(form, url, method, **settings)
    for slug in ("operation-lost", "close-error", "exit", "langchain-callback"):
        assert f"[{slug}]" not in done.stderr
    return int(done.stdout)


def ended(form: str, url: str, method: str, **settings: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(SOURCE), str(PROGRAM.parent)])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), form, method],
        env={**os.environ, "SESSIONBAT_ENDPOINT": url, "PYTHONPATH": paths, **settings},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == ENDS.get(form, 0), done.stderr
    return done


def delivered(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Every event as it was sent, a second time if it was sent twice."""
    return [event for request in list(endpoint.requests) for event in request.events]


def unfinished(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    observations = [event["observation"] for event in events]
    return [o for o in observations if o["metadata"].get("status") == "unfinished"]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("model", "llm"),
        ("tool", "tool"),
        ("retrieval", "retrieval"),
        ("chain", "llm"),
        ("several", "llm"),
        ("stream", "llm"),
        ("after-another", "llm"),
        ("failing", "llm"),
        ("leaving", "llm"),
        ("in-main", "llm"),
        ("closed", "llm"),
        ("own-integration", "llm"),
        ("two-clients", "llm"),
    ],
)
def test_an_open_run_arrives_once_as_unfinished(endpoint: Endpoint, form: str, kind: str) -> None:
    opened = run(form, endpoint.url)
    events = delivered(endpoint)
    found = unfinished(events)
    assert [o["kind"] for o in found] == [kind] * opened
    assert all("open" in json.dumps(o["input"]) for o in found)
    assert len(events) == opened + (form == "after-another")


@pytest.mark.parametrize(
    ("form", "method"),
    [
        ("process", "fork"),
        ("process", "forkserver"),
        ("process", "spawn"),
        ("open-parent", "fork"),
        ("open-parent", "spawn"),
        ("idle-children", "fork"),
        ("nested", "fork"),
        ("executor", "fork"),
        ("executor", "spawn"),
        ("forked", "fork"),
    ],
)
def test_an_open_run_of_a_child_arrives_once_as_unfinished(
    endpoint: Endpoint, form: str, method: str
) -> None:
    opened = run(form, endpoint.url, method)
    events = delivered(endpoint)
    assert (len(unfinished(events)), len(events)) == (opened, opened)


@pytest.mark.parametrize("form", ["model", "process"])
def test_without_a_spool_it_arrives_as_well(endpoint: Endpoint, form: str) -> None:
    opened = run(form, endpoint.url, SPOOL="no")
    assert len(unfinished(delivered(endpoint))) == opened


@pytest.mark.parametrize("form", ["model", "open-parent"])
@pytest.mark.parametrize("manner", ["refusing", "hanging"])
def test_where_nobody_takes_it_it_waits_on_disk(endpoint: Endpoint, form: str, manner: str) -> None:
    endpoint.behave = lambda request: Answer(hang=True)
    url = endpoint.url if manner == "hanging" else f"http://127.0.0.1:{unused_port()}"
    opened = run(form, url)
    kept = [json.loads(line) for spool in list_spools() for line in read_events(spool)]
    assert (len(unfinished(kept)), len(kept)) == (opened, opened)


def test_the_end_of_a_process_waits_a_second_for_open_runs_and_counts_the_others(
    endpoint: Endpoint,
) -> None:
    done = ended("several", endpoint.url, "fork", MASK_SECONDS="0.45")
    recorded = len(unfinished(delivered(endpoint)))
    lost = re.search(r"(\d+) operations under way were lost: .* \[operation-lost\]", done.stderr)
    assert lost is not None, done.stderr
    assert recorded in (1, 2, 3)
    assert recorded + int(lost[1]) == int(done.stdout) == 5
