"""Langfuse: one generation a model call. Its transport is OpenTelemetry's, with gzip."""

from __future__ import annotations

import os

from langfuse import Langfuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.workload import Call


class Recorder:
    def __init__(self, address: str, unbounded: bool) -> None:
        if unbounded:
            os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = "1000000"
        self._client = Langfuse(public_key="pk-lf-bench", secret_key="sk-lf-bench", host=address)

    def record(self, call: Call) -> None:
        self._client.start_observation(
            name="chat",
            as_type="generation",
            model=call.model,
            input=call.input,
            output=call.output,
            usage_details={
                "input": call.metrics["input_tokens"],
                "output": call.metrics["output_tokens"],
            },
        ).end()

    def flush(self) -> None:
        self._client.flush()


def start(address: str, *, unbounded: bool = False) -> Recorder:
    return Recorder(address, unbounded)
