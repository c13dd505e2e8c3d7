"""Why a model stopped, in one spelling; the sender's own is kept beside it."""

from __future__ import annotations

from typing import Any, Final

from sessionbat._otel import values

_SPELLINGS: Final = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "completed", "complete", "eos"), "stop"),
    **dict.fromkeys(("finish_reason_stop", "eos_token", "success"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool-calls", "tool_use"), "tool_calls"),
    **dict.fromkeys(("function_call", "function_calls", "tool-call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "incomplete"), "length"),
    **dict.fromkeys(("model_length", "finish_reason_max_tokens"), "length"),
    **dict.fromkeys(("content_filter", "content-filter", "safety", "refusal"), "content_filter"),
    **dict.fromkeys(("recitation", "blocklist", "prohibited_content"), "content_filter"),
}


def normalised(raw: Any) -> tuple[str | None, str | None]:
    """Give a finish reason in one spelling, and the raw one where it is another."""
    if raw is None:
        return None, None
    raw = values.decoded(raw)
    if isinstance(raw, list | tuple):
        raw = next((each for each in raw if values.text(each)), None)
    said = values.name(raw)
    if said is None:
        return None, None
    spelt = _SPELLINGS.get(said.rpartition(".")[2].lower(), said)  # also FinishReason.STOP
    return spelt, None if spelt == said else said
