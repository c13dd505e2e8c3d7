"""Apps instrumented for LangSmith and Langfuse send here by their environment alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import make_key, start_server
from tests.server.wire import Wire
from tests.switching.fake_openai import provider
from tests.world import need

__all__ = ["make_key", "start_server"]

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
_OF_SERVICES = ("LANGSMITH_", "LANGCHAIN_", "LANGFUSE_", "PHOENIX_", "OTEL_", "OPENAI_")
#: Langfuse logs what the provider refuses; that says nothing of this server.
OF_THE_PROVIDER = {"WARNING:langfuse:Error code: 400 - no luck\n"}


@pytest.fixture(scope="module")
def model_address() -> Iterator[str]:
    with provider() as address:
        yield address


def run_app(name: str, model_address: str, **environment: str) -> str:
    """Run an app as its own process; give what it logged."""
    given = {key: value for key, value in os.environ.items() if not key.startswith(_OF_SERVICES)}
    given |= {"OPENAI_BASE_URL": model_address, "OPENAI_API_KEY": "sk-fake", **environment}
    ran = subprocess.run(
        [sys.executable, HERE / name], env=given, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return "".join(line for line in ran.stderr.splitlines(True) if line not in OF_THE_PROVIDER)


def stored(server: Wire) -> list[dict[str, Any]]:
    sessions = server.get("/api/v1/sessions").json["items"]
    return [event for each in sessions for event in server.stored(each["session_id"], each["app"])]


def by_kind(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in events:
        found.setdefault(each["type"], []).append(each)
    return found


def check_calls(found: dict[str, list[dict[str, Any]]]) -> None:
    told = [each for kind, events in found.items() if kind != "feedback" for each in events]
    assert {each["session_id"] for each in told} == {"thread_42"}
    calls = sorted(found["llm"], key=lambda each: str(each["observation"]["started_at"]))
    assert len(calls) == 4, [each["observation"]["input"] for each in calls]
    for each in (calls[0], calls[1], calls[3]):
        metrics = each["observation"]["metrics"]
        assert (metrics["input_tokens"], metrics["output_tokens"]) == (120, 18)
        assert (metrics["cache_read_tokens"], metrics["reasoning_tokens"]) == (64, 6)
        assert "It arrives on Friday." in str(each["observation"]["output"])
    assert "no luck" in calls[2]["observation"]["error"]["message"]
    assert calls[2]["observation"]["metrics"]["http_status"] == 400
    assert [each["observation"]["name"] for each in found["tool"]] == ["get_order"]
    assert found["tool"][0]["observation"]["output"] == {"status": "shipped"}
    assert len(found["retrieval"]) == 1
    assert all("status" not in each["observation"]["metadata"] for each in calls)
    users = {each["context"].get("user_id") for each in (*calls, *found["tool"])}
    assert users == {"user_7"}


def tells_first_token(found: dict[str, list[dict[str, Any]]]) -> bool:
    told = [each["observation"]["metrics"] for each in found["llm"]]
    return [each for each in told if each.get("time_to_first_token_ms", -1) >= 0] != []


def told_by_the_page(service: str, server: Wire, key: str) -> dict[str, str]:
    """Give the environment that docs/switching.md tells, for this server and key."""
    page = (HERE.parents[1] / "docs" / "switching.md").read_text()
    (line,) = re.findall(rf"^# {service}.*\nexport (.*)$", page, re.MULTILINE)
    host, port = server.address
    given = line.replace("127.0.0.1", host).replace("8787", str(port))
    return dict(each.split("=", 1) for each in given.replace("sbat_ingest_...", key).split())


WAYS = {
    "as the page says": {},
    "LANGCHAIN_ENDPOINT": {},
    "plain": {"LANGSMITH_DISABLE_RUN_COMPRESSION": "true"},
    "OpenTelemetry": {"LANGSMITH_OTEL_ENABLED": "true", "LANGSMITH_OTEL_ONLY": "true"},
}


@pytest.mark.parametrize("way", WAYS)
def test_langsmith_sends_here_by_its_environment_alone(
    start_server: Callable[..., Wire], make_key: Callable[..., str], model_address: str, way: str
) -> None:
    need("langsmith")
    need("langchain_openai")
    if way == "OpenTelemetry":
        need("opentelemetry.exporter.otlp.proto.http")
    server = start_server()
    key = make_key("ingest", "support-bot")
    told = told_by_the_page("LangSmith", server, key)
    if way == "LANGCHAIN_ENDPOINT":
        told["LANGCHAIN_ENDPOINT"] = told.pop("LANGSMITH_ENDPOINT")
        told["LANGCHAIN_API_KEY"] = told.pop("LANGSMITH_API_KEY")
    logged = run_app("langsmith_app.py", model_address, **told, **WAYS[way])
    assert logged == ""
    reader = server.with_key(make_key("read"))
    found = by_kind(stored(reader))
    check_calls(found)
    assert way == "OpenTelemetry" or tells_first_token(found)
    said = sorted(found["feedback"], key=lambda each: str(each["feedback"]["label"]))
    assert [each["feedback"]["score"] for each in said] == [0.5, 1]
    assert said[1]["feedback"]["comment"] == "good"
    if way != "OpenTelemetry":  # such spans say nothing by which their run could be known
        assert {each["session_id"] for each in said} == {"thread_42"}
        turns = {each["interaction_id"] for each in (*said, *found["tool"], *found["retrieval"])}
        assert len(turns) == 1


@pytest.mark.parametrize("name", ["LANGFUSE_HOST", "LANGFUSE_BASE_URL"])
def test_langfuse_sends_here_by_its_environment_alone(
    start_server: Callable[..., Wire], make_key: Callable[..., str], model_address: str, name: str
) -> None:
    need("langfuse")
    need("langchain_openai")
    server = start_server()
    key = make_key("ingest", "support-bot")
    told = told_by_the_page("Langfuse", server, key)
    told[name] = told.pop("LANGFUSE_HOST")
    logged = run_app("langfuse_app.py", model_address, **told)
    assert logged == ""
    found = by_kind(stored(server.with_key(make_key("read"))))
    check_calls(found)
    assert tells_first_token(found)
    said = sorted(found["feedback"], key=lambda each: str(each["feedback"]["label"]))
    assert [each["feedback"]["label"] for each in said] == ["solved: yes", "thumbs"]
    assert {each["session_id"] for each in said} == {"thread_42"}
    assert said[1]["interaction_id"] == found["tool"][0]["interaction_id"]
    assert said[0]["interaction_id"] is None


def test_phoenix_sends_here_by_its_environment_alone(
    start_server: Callable[..., Wire], make_key: Callable[..., str], model_address: str
) -> None:
    need("phoenix.otel")
    server = start_server()
    told = told_by_the_page("Phoenix", server, make_key("ingest", "support-bot"))
    assert run_app("phoenix_app.py", model_address, **told) == ""
    found = by_kind(stored(server.with_key(make_key("read"))))
    assert {kind: len(events) for kind, events in found.items()} == {"llm": 1, "tool": 1}
    (call,), (tool,) = found["llm"], found["tool"]
    assert call["session_id"] == tool["session_id"] == "thread_42"
    assert call["context"]["user_id"] == "user_7"
    assert "It arrives on Friday." in str(call["observation"]["output"])
    assert tool["observation"]["name"] == "get_order"
