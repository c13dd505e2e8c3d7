"""LangSmith: one completed run a model call, through the cheapest public way there is."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from langsmith import Client, uuid7

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.workload import Call


class Recorder:
    def __init__(self, address: str, unbounded: bool) -> None:
        if unbounded:
            os.environ["LANGSMITH_TRACING_QUEUE_MAX_SIZE"] = "1000000"
        self._client = Client(api_url=address, api_key="lsv2_bench")

    def record(self, call: Call) -> None:
        ended = datetime.now(UTC)
        started = ended - timedelta(milliseconds=call.metrics["latency_ms"])
        run_id = uuid7()
        self._client.create_run(
            "chat",
            call.input,
            "llm",
            project_name="bench",
            id=run_id,
            trace_id=run_id,
            dotted_order=f"{started:%Y%m%dT%H%M%S%fZ}{run_id}",
            start_time=started,
            end_time=ended,
            outputs=call.output,
            extra={"metadata": {"ls_model_name": call.model, "thread_id": "thread_123"}},
        )

    def flush(self) -> None:
        self._client.flush()


def start(address: str, *, unbounded: bool = False) -> Recorder:
    return Recorder(address, unbounded)
