"""OpenTelemetry: one span a model call, with the attributes of its GenAI conventions.

A span attribute cannot hold an object, so the messages are JSON text, as the conventions have it.
The span is not made current, which saves OpenTelemetry some work.
"""

from __future__ import annotations

from json import dumps

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.workload import Call


class Recorder:
    def __init__(self, address: str, unbounded: bool, gzip: bool) -> None:
        exporter = OTLPSpanExporter(
            endpoint=f"{address}/v1/traces",
            compression=Compression.Gzip if gzip else Compression.NoCompression,
        )
        self._provider = TracerProvider()
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=1_000_000 if unbounded else None)
        )
        self._tracer = self._provider.get_tracer("bench")

    def record(self, call: Call) -> None:
        self._tracer.start_span(
            "chat",
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.conversation.id": "thread_123",
                "gen_ai.request.model": call.model,
                "gen_ai.input.messages": dumps(call.input["messages"]),
                "gen_ai.output.messages": dumps(call.output),
                "gen_ai.usage.input_tokens": call.metrics["input_tokens"],
                "gen_ai.usage.output_tokens": call.metrics["output_tokens"],
                "latency_ms": call.metrics["latency_ms"],
            },
        ).end()

    def flush(self) -> None:
        self._provider.force_flush(60_000)


def start(address: str, *, unbounded: bool = False, gzip: bool = False) -> Recorder:
    return Recorder(address, unbounded, gzip)
