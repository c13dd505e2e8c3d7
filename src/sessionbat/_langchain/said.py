"""What a model says outside its message's content: calls, reasoning, refusals, audio, citations.

Providers' packages put these into ``additional_kwargs`` and ``response_metadata``, each under
names of its own. Pure functions for ``messages``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sessionbat._langchain.media import summed_up

REASONING_BLOCKS: Final = frozenset(
    {"reasoning", "thinking", "redacted_thinking", "reasoning_content", "thought"}
)
#: Where reasoning stands outside content; the first that says something counts.
_REASONING_KEYS: Final = (
    "reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details", "thought",
    "thoughts",
)  # fmt: skip
#: Shown under names of their own, or said elsewhere in the record.
_SHOWN: Final = frozenset({
    *_REASONING_KEYS, "audio", "function_call", "refusal", "tool_calls", "tool_outputs",
    "parsed", "output_parsed", "usage", "usage_metadata", "token_usage", "stop_reason",
    "stop_sequence", "finish_reason", "model", "model_id", "model_name", "model_provider", "id",
    "response_id", "role", "created", "created_at", "object", "name", "type", "index",
    "generation_id", "token_count", "meta", "signature", "thought_signature", "thought_signatures",
    "output_version", "service_tier", "system_fingerprint",
})  # fmt: skip
#: What providers tell of an answer beside it that is about its substance.
_SAID_BESIDE: Final = frozenset({
    "block_reason", "blocked", "citation_metadata", "citations", "content_filter_results",
    "grounding_metadata", "incomplete_details", "prompt_feedback", "refusal", "safety_ratings",
    "search_results", "stop_details",
})  # fmt: skip


def said_outside(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what an answer says outside its content, under an output's names."""
    extra = fields.get("additional_kwargs")
    said: dict[str, Any] = {}
    if extra and type(extra) is dict:
        for name in ("refusal", "audio", "tool_outputs"):
            if extra.get(name):
                said[name] = summed_up(extra[name])
        other = {
            key: summed_up(value)
            for key, value in extra.items()
            if value and key not in _SHOWN and not (type(key) is str and key.startswith("_"))
        }
        if other:
            said["additional"] = other
    beside = fields.get("response_metadata")
    if type(beside) is dict and not _SAID_BESIDE.isdisjoint(beside):
        for name in sorted(_SAID_BESIDE & beside.keys()):
            if beside[name]:
                said.setdefault("additional", {}).setdefault(name, summed_up(beside[name]))
    return said


def transcript_of(fields: Mapping[str, Any]) -> str:
    """Get the words of an answer that was spoken."""
    extra = fields.get("additional_kwargs") or {}
    audio = extra.get("audio")
    words = audio.get("transcript") if type(audio) is dict else None
    return words if type(words) is str else ""


def reasoning_outside(fields: Mapping[str, Any]) -> str:
    """Get the reasoning that stands outside an answer's content."""
    extra = fields.get("additional_kwargs")
    if not extra:
        return ""
    for key in _REASONING_KEYS:
        said = reasoning_text(extra.get(key))
        if said:
            return said
    return ""


def reasoning_text(said: Any) -> str:
    """Get the words of a piece of reasoning: a text, a block, or a list of these."""
    if isinstance(said, str):
        return said
    if isinstance(said, list | tuple):
        return "\n".join(text for text in map(reasoning_text, said) if text)
    if not isinstance(said, dict):
        return ""
    for key in ("reasoning", "thinking", "reasoning_content", "text", "summary", "content"):
        text = reasoning_text(said.get(key))
        if text:
            return text
    return ""


def tool_calls(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the calls that a message asks for; those that could not be parsed say why."""
    calls = [_call(call, ("id", "name", "args")) for call in fields.get("tool_calls") or ()]
    for call in fields.get("invalid_tool_calls") or ():
        calls.append(_call(call, ("id", "name", "args", "error")))
    extra = fields.get("additional_kwargs")
    if extra and not calls:
        raw = extra.get("tool_calls")
        calls = [_raw_call(call) for call in raw] if isinstance(raw, list) else []
    if extra and extra.get("function_call"):
        calls.append(_raw_call(extra["function_call"]))
    return [call for call in calls if call]


def _call(call: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(call, dict):
        return {}
    return {key: summed_up(call.get(key)) for key in keys}


def _raw_call(call: Any) -> dict[str, Any]:
    """Read a call as providers write it: the function apart, its arguments as JSON text."""
    if not isinstance(call, dict):
        return {}
    named = call.get("function")
    function = named if isinstance(named, dict) else call
    return {
        "id": call.get("id"),
        "name": function.get("name"),
        "args": summed_up(_parsed(function.get("arguments", function.get("args")))),
    }


def _parsed(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:  # as far as it came
        return arguments
