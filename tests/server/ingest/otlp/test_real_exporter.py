"""The real OpenTelemetry SDK and exporter, told of the server by environment variables only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.wire import Wire
from tests.world import need

# A program that knows nothing of SessionBat: spans, and the exporter that its environment names.
PROGRAM = """
import json
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor({processor}(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("opentelemetry.instrumentation.genai.openai", "1.3b0")
said = json.dumps([{{"role": "user", "parts": [{{"type": "text", "content": "Where is it?"}}]}}])
answer = json.dumps([{{"role": "assistant", "parts": [{{"type": "text", "content": "There."}}]}}])
with tracer.start_as_current_span("POST /chat") as root:
    with tracer.start_as_current_span("chat gpt-5.4-mini") as call:
        call.set_attribute("gen_ai.operation.name", "chat")
        call.set_attribute("gen_ai.request.model", "gpt-5.4-mini")
        call.set_attribute("gen_ai.usage.input_tokens", 120)
        call.set_attribute("gen_ai.usage.output_tokens", 18)
        call.set_attribute("gen_ai.response.finish_reasons", ["stop"])
        call.set_attribute("gen_ai.input.messages", said)
        call.set_attribute("gen_ai.output.messages", answer)
    with tracer.start_as_current_span("execute_tool get_order") as tool:
        tool.set_attribute("gen_ai.operation.name", "execute_tool")
        tool.set_attribute("gen_ai.tool.name", "get_order")
    root.set_attribute("session.id", "thread_42")
print(provider.force_flush())
provider.shutdown()
"""


def run(directory: Path, url: str, key: str = "", processor: str = "Batch", **more: str) -> str:
    need("opentelemetry.exporter.otlp.proto.http")
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "shop",
        **({"OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{key}"} if key else {}),
        **more,
    }
    program = PROGRAM.format(processor=f"{processor}SpanProcessor")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout == "True\n"
    return ended.stderr


def kinds(server: Wire, app: str) -> list[tuple[str, Any]]:
    events = server.stored("thread_42", app)
    return sorted(
        (each["type"], each["observation"]["metrics"].get("input_tokens")) for each in events
    )


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["Batch", "Simple"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("path", ["", "/otel"])
def test_spans_arrive_by_environment_alone_and_nothing_is_logged(
    start_server: Callable[..., Wire], tmp_path: Path, processor: str, compression: str, path: str
) -> None:
    server = start_server()
    more = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    assert run(tmp_path, f"{server.url}{path}", "", processor, **more) == ""
    assert kinds(server, "shop") == [("llm", 120), ("tool", None)]


@pytest.mark.slow
def test_the_key_says_the_app(
    start_server: Callable[..., Wire], make_key: Callable[..., str], tmp_path: Path
) -> None:
    key, reading = make_key("ingest", "mine"), make_key("read")
    server = start_server()
    assert run(tmp_path, server.url, key) == ""
    assert kinds(server.with_key(reading), "mine") == [("llm", 120), ("tool", None)]


@pytest.mark.slow
def test_a_wrong_key_is_told_by_the_exporter_once(
    start_server: Callable[..., Wire], make_key: Callable[..., str], tmp_path: Path
) -> None:
    key = make_key("ingest", "mine")
    server = start_server()
    said = run(tmp_path, server.url, key[:-1] + ("x" if key[-1] != "x" else "y"))
    assert "401" in said and key[:-1] not in said
