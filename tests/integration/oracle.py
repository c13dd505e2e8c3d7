"""LangChain's own tracer, listening beside the handler, and what the two must agree on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.tracers.base import BaseTracer

KINDS = {"llm": "llm", "chat_model": "llm", "tool": "tool", "retriever": "retrieval"}
NO_FAILURES = (
    "CancelledError",
    "GeneratorExit",
    "GraphInterrupt",
    "NodeInterrupt",
    "ParentCommand",
)
METRICS = {"input_tokens", "output_tokens", "total_tokens"}


class Oracle(BaseTracer):
    """Keeps every run that it hears of."""

    run_inline = True

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")
        self.runs: dict[UUID, Any] = {}

    def _persist_run(self, run: Any) -> None:
        pass

    def _on_run_create(self, run: Any) -> None:
        self.runs[run.id] = run

    def expectation(self) -> dict[str, tuple[str, bool, dict[str, int]]]:
        """For each run that is worth an observation: its kind, whether it failed, its tokens."""
        return {
            str(run.id): (KINDS[run.run_type], _failed(run), _tokens(run))
            for run in self.runs.values()
            if run.run_type in KINDS
        }


def recorded_as(events: list[dict[str, Any]]) -> dict[str, tuple[str, bool, dict[str, int]]]:
    """What the handler made of the same runs; an observation too many fails here."""
    described = {}
    for event in events:
        observation = event["observation"]
        if observation["name"] == "interrupt":  # a moment, no run of a tool
            assert observation["metadata"]["status"] == "interrupted"
            continue
        run_id = observation["metadata"]["run_id"]
        assert run_id not in described, "two observations of one run"
        tokens = {k: v for k, v in observation["metrics"].items() if k in METRICS}
        described[run_id] = (observation["kind"], observation["error"] is not None, tokens)
    return described


def _failed(run: Any) -> bool:
    if run.error is not None:
        return not run.error.startswith(NO_FAILURES)
    output = (run.outputs or {}).get("output")
    return getattr(output, "status", None) == "error"


def _tokens(run: Any) -> dict[str, int]:
    generations = (run.outputs or {}).get("generations") or [[]]
    for generation in generations[0][:1]:
        message = generation.get("message") or {}
        fields = message if isinstance(message, dict) else vars(message)
        fields = fields.get("kwargs", fields)
        usage = fields.get("usage_metadata") or {}
        if usage.get("total_cost") == 0:  # a cache hit
            return {}
        return {k: v for k, v in usage.items() if k in METRICS}
    return {}
