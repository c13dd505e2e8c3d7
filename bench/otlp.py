"""What OpenTelemetry costs the server: spans and our own events, in turn, until searchable.

Run: PYTHONPATH=src python bench/otlp.py [--calls 20000] [--rounds 2] [--json FILE]

A trace of the run is a typical turn: an HTTP request without content, an agent, two model calls
with their messages, and a tool between them, as instrumentation by the GenAI conventions writes
them; every id is its own. The same calls, mapped beforehand, go to the other protocol as events, as
many in a body. Time ends when a word of the last event is found.
"""

from __future__ import annotations

import argparse
import gzip
import json
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, as the other benchmarks are

from bench.ingest import post_last, send_all, serving, wait_until_found
from bench.processes import cpu_seconds
from bench.store import Words
from sessionbat._otel.assembling import assemble
from sessionbat._otel.mapping import map_span
from sessionbat._otel.model import Span
from sessionbat.server.ingest.otlp.reading import read_protobuf

CALLS_A_TRACE = 3
TRACES_A_BODY = 100
START_NS = 1_795_456_800_000_000_000


@dataclass(frozen=True)
class Found:
    """Per second and of CPU, of the better round; ``ratio`` is of calls, OTLP to our own."""

    calls: int
    spans_per_s: float
    calls_per_s: float
    cpu_us_a_call: float
    own_events_per_s: float
    own_cpu_us_an_event: float
    ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write what was found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory), options.calls, options.rounds)
    print(
        f"{found.calls} calls until searchable: OTLP {found.calls_per_s:.0f}/s"
        f" ({found.spans_per_s:.0f} spans/s, {found.cpu_us_a_call:.0f} us CPU a call),"
        f" our own {found.own_events_per_s:.0f}/s ({found.own_cpu_us_an_event:.0f} us):"
        f" {found.ratio:.2f} x"
    )
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n")


def measure(directory: Path, calls: int, rounds: int) -> Found:
    traces = calls // CALLS_A_TRACE
    make_bodies(directory, traces)
    made = traces * CALLS_A_TRACE
    otlp, own = list[tuple[float, float]](), list[tuple[float, float]]()
    for number in range(rounds):
        otlp.append(run(directory / f"otlp{number}.db", directory / "otlp", "/v1/traces"))
        own.append(run(directory / f"own{number}.db", directory / "own", None))
    (seconds, cpu), (own_seconds, own_cpu) = min(otlp), min(own)
    return Found(
        calls=made,
        spans_per_s=traces * (CALLS_A_TRACE + 2) / seconds,
        calls_per_s=made / seconds,
        cpu_us_a_call=1e6 * cpu / made,
        own_events_per_s=made / own_seconds,
        own_cpu_us_an_event=1e6 * own_cpu / made,
        ratio=own_seconds / seconds,
    )


def run(store: Path, bodies: Path, path: str | None) -> tuple[float, float]:
    """Store all bodies; seconds until the last is searchable, and of CPU."""
    with serving(store) as (process, port):
        cpu, started = cpu_seconds(process.pid), time.perf_counter()
        if path is None:
            send_all(port, bodies)
        else:
            form = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
            send_all(port, bodies, path, form, is_stored)
        post_last(port)
        wait_until_found(port)
        return time.perf_counter() - started, cpu_seconds(process.pid) - cpu


def is_stored(answer: bytes) -> bool | None:
    """Whether an answer of OTLP says that all is stored; None while it is incomplete."""
    if b"\r\n\r\n" not in answer:
        return None
    return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n")


def make_bodies(directory: Path, traces: int) -> None:
    """Write the same calls twice: as requests of OTLP, and as our own NDJSON."""
    random, compress = Random(1), zstandard.ZstdCompressor(level=1).compress
    words = Words(random)
    with (directory / "otlp").open("wb") as otlp, (directory / "own").open("wb") as own:
        for first in range(0, traces, TRACES_A_BODY):
            spans = [
                span
                for number in range(first, min(first + TRACES_A_BODY, traces))
                for span in trace_of(number, random, words)
            ]
            request = request_of(spans)
            _write(otlp, gzip.compress(request, 6))
            read = [item for item, _ in read_protobuf(request, "traces") if isinstance(item, Span)]
            events = assemble([part for span in read for part in map_span(span)])
            _write(own, compress(b"\n".join(map(orjson.dumps, events))))


def _write(file: Any, body: bytes) -> None:
    file.write(struct.pack("!I", len(body)) + body)


# Spans, written by hand as bytes


def trace_of(number: int, random: Random, words: Words) -> Iterator[bytes]:
    """Give a turn's spans as they end: the innermost first."""
    trace, root, agent = random.randbytes(16), random.randbytes(8), random.randbytes(8)
    start = START_NS + number * 10**9
    session = f"thread_{number // 4}"
    said = [{"role": "user", "parts": [{"type": "text", "content": words.text(40)}]}]
    system = [{"type": "text", "content": "You help customers of a shop with their orders."}]
    call = {"type": "tool_call", "id": f"call_{number}", "name": "get_order",
            "arguments": {"order_id": f"A-{number}"}}  # fmt: skip
    result = {"type": "tool_call_response", "id": f"call_{number}", "result": words.text(30)}
    answer = {"type": "text", "content": words.text(80)}

    def chat(step: int, asked: list[Any], answered: Any, reason: str) -> bytes:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.conversation.id": session,
            "gen_ai.request.model": "gpt-5.4-mini",
            "gen_ai.response.model": "gpt-5.4-mini-2026-03-17",
            "gen_ai.response.id": f"chatcmpl-{trace.hex()}{step}",
            "gen_ai.request.temperature": 0.2,
            "gen_ai.request.max_tokens": 800,
            "gen_ai.usage.input_tokens": 120 + step,
            "gen_ai.usage.output_tokens": 18,
            "gen_ai.usage.cache_read.input_tokens": 64,
            "gen_ai.response.finish_reasons": [reason],
            "gen_ai.system_instructions": json.dumps(system),
            "gen_ai.input.messages": json.dumps(asked),
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [answered], "finish_reason": reason}]
            ),
            "server.address": "api.openai.com",
            "server.port": 443,
        }
        begun = start + step * 10**8
        name = "chat gpt-5.4-mini"
        return span_of(trace, random.randbytes(8), agent, name, begun, 9 * 10**7, attributes)

    yield chat(1, said, call, "tool_call")
    yield span_of(
        trace, random.randbytes(8), agent, "execute_tool get_order", start + 2 * 10**8, 10**7,
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_order",
            "gen_ai.tool.call.id": f"call_{number}",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.arguments": json.dumps(call["arguments"]),
            "gen_ai.tool.call.result": json.dumps({"text": result["result"]}),
        },
    )  # fmt: skip
    more = [{"role": "assistant", "parts": [call]}, {"role": "tool", "parts": [result]}]
    yield chat(3, [*said, *more], answer, "stop")
    agent_said = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": session,
        "gen_ai.usage.input_tokens": 244,
        "gen_ai.usage.output_tokens": 36,
    }
    yield span_of(trace, agent, root, "invoke_agent support", start, 5 * 10**8, agent_said)
    request = {
        "http.request.method": "POST",
        "http.route": "/chat",
        "url.path": "/chat",
        "http.response.status_code": 200,
    }
    yield span_of(trace, root, b"", "POST /chat", start, 6 * 10**8, request)


def span_of(
    trace: bytes, span: bytes, parent: bytes, name: str, start: int, took: int,
    attributes: dict[str, Any],
) -> bytes:  # fmt: skip
    return b"".join(
        (
            _field(1, trace),
            _field(2, span),
            _field(4, parent) if parent else b"",
            _field(5, name.encode()),
            b"\x39" + struct.pack("<Q", start),
            b"\x41" + struct.pack("<Q", start + took),
            *(_field(9, _pair(key, value)) for key, value in attributes.items()),
        )
    )


def request_of(spans: list[bytes]) -> bytes:
    resource = _field(1, _field(1, _pair("service.name", "bench")))
    name = b"opentelemetry.instrumentation.genai.openai"
    scope = _field(1, _field(1, name) + _field(2, b"1.3b0"))
    return _field(1, resource + _field(2, scope + b"".join(_field(2, each) for each in spans)))


def _pair(key: str, value: Any) -> bytes:
    return _field(1, key.encode()) + _field(2, _value(value))


def _value(value: Any) -> bytes:
    if isinstance(value, int):
        return b"\x18" + _varint(value)
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    if isinstance(value, list):
        return _field(5, b"".join(_field(1, _value(each)) for each in value))
    return _field(1, value.encode())


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


if __name__ == "__main__":
    main()
