"""PostHog: one `$ai_generation` event a model call."""

from __future__ import annotations

from posthog import Posthog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.workload import Call


class Recorder:
    def __init__(self, address: str, unbounded: bool) -> None:
        queue = {"max_queue_size": 1_000_000} if unbounded else {}
        self._client = Posthog("phc_bench", host=address, **queue)

    def record(self, call: Call) -> None:
        self._client.capture(
            "$ai_generation",
            distinct_id="user_123",
            properties={
                "$ai_trace_id": "interaction_123",
                "$ai_session_id": "thread_123",
                "$ai_model": call.model,
                "$ai_input": call.input["messages"],
                "$ai_output_choices": [call.output],
                "$ai_input_tokens": call.metrics["input_tokens"],
                "$ai_output_tokens": call.metrics["output_tokens"],
                "$ai_latency": call.metrics["latency_ms"] / 1000,
            },
        )

    def flush(self) -> None:
        self._client.flush()


def start(address: str, *, unbounded: bool = False) -> Recorder:
    return Recorder(address, unbounded)
