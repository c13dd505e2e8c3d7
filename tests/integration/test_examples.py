"""The examples run offline and record what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_example(name: str) -> list[dict[str, Any]]:
    """Run an example without any key, and return the events that it prints."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and name != "SESSIONBAT_ENDPOINT"
    }
    environment["PYTHONPATH"] = str(ROOT / "src")
    printed = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_the_chain_records_both_turns_of_one_session() -> None:
    events = run_example("langchain_chain.py")
    assert [event["type"] for event in events] == ["llm", "llm"]
    assert {event["session_id"] for event in events} == {"thread_123"}
    assert len({event["interaction_id"] for event in events}) == 2
    assert events[0]["tags"] == ["langchain"]


@pytest.mark.slow
def test_the_agent_records_its_tools_and_the_approval() -> None:
    pytest.importorskip("langgraph.graph")
    pytest.importorskip(
        "langchain.agents.middleware", reason="create_agent came with langchain 1.0"
    )
    events = run_example("langgraph_agent.py")
    observed = [
        (e["type"], e["observation"]["name"], e["observation"]["metadata"].get("status"))
        for e in events
    ]
    assert observed == [
        ("llm", None, None),
        ("tool", "look_up_account", None),
        ("llm", None, None),
        ("tool", "unlock_account", "interrupted"),
        ("tool", "unlock_account", None),
        ("llm", None, None),
    ]
    assert all(event["observation"]["error"] is None for event in events)
    assert events[-1]["observation"]["metadata"]["resumes"] == events[0]["interaction_id"]
    assert {event["context"]["user_id"] for event in events} == {"user_123"}


@pytest.mark.slow
def test_the_transport_of_ones_own_writes_what_was_recorded() -> None:
    (event,) = run_example("file_transport.py")
    assert (event["type"], event["session_id"]) == ("llm", "thread_123")
