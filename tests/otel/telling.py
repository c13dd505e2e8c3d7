"""What an event says, in the few words in which the expectation files are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "expected"
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")


def expected(name: str) -> list[dict[str, Any]]:
    """Read what is expected of a capture; what holds for all events stands at its top."""
    said = json.loads((FOLDER / f"{name}.json").read_text())
    of_all = {key: said.get(key) for key in ("session", "user")}
    return [
        {key: value for key, value in {**of_all, **event}.items() if value is not None}
        for event in said["events"]
    ]


def told(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tell of events as expectation files do; turns are numbered as they come."""
    turns: dict[str | None, int] = {}
    return [
        {key: value for key, value in _event(event, turns).items() if value is not None}
        for event in events
    ]


def agree(expected: Any, found: Any) -> bool:
    """Whether what was found is what was expected: an error's or question's part may be given."""
    if not isinstance(expected, Mapping) or not isinstance(found, Mapping):
        return bool(expected == found)
    return set(expected) == set(found) and all(
        _agrees(key, value, found[key]) for key, value in expected.items()
    )


def _agrees(key: str, expected: Any, found: Any) -> bool:
    if key == "error":
        type_, _, message = found.partition(": ")
        return expected in f"{type_.rpartition('.')[2]}: {message}"
    if key == "asked" and expected.startswith("…"):
        return bool(expected[1:] in found)
    if key == "documents":
        return len(expected) == len(found) and all(
            {**there, **wanted} == there for wanted, there in zip(expected, found, strict=True)
        )
    return bool(expected == found)


def _event(event: dict[str, Any], turns: dict[str | None, int]) -> dict[str, Any]:
    observation = event["observation"]
    metadata, metrics = observation["metadata"], observation["metrics"]
    says = [event["type"]]
    says += ["aggregate"] if metadata.get("aggregate") is True else []
    says += [metadata[key] for key in ("operation", "source") if key in metadata]
    is_from_trace = event["context"].get("session_from") == "trace"
    error = observation["error"]
    return {
        "is": " ".join(says),
        "turn": turns.setdefault(event["interaction_id"], len(turns) + 1),
        "session": None if is_from_trace else event["session_id"],
        "user": event["context"].get("user_id"),
        "agent": metadata.get("agent"),
        "node": metadata.get("node"),
        "tokens": _tokens(metrics),
        "cost": metrics.get("cost_usd"),
        "streamed": True if metrics.get("time_to_first_token_ms", -1) >= 0 else None,
        "http_status": status if (status := metrics.get("http_status", 0)) >= 400 else None,
        "finish": metadata.get("finish_reason"),
        "content": metadata.get("content"),
        "spans": len(metadata["span_ids"]) if "span_ids" in metadata else None,
        "error": None if error is None else f"{error['type']}: {error['message']}",
        **_content(event["type"], metadata, observation),
    }


def _tokens(metrics: Mapping[str, Any]) -> str | None:
    if not any(name in metrics for name in _TOKENS):
        return None
    return "/".join(str(metrics.get(name, "-")) for name in _TOKENS)


def _content(kind: str, metadata: Any, observation: Any) -> dict[str, Any]:
    given, got = observation["input"], observation["output"]
    if kind == "tool":
        return {"name": observation["name"], "input": given, "output": got}
    if kind == "retrieval":
        return {"query": (given or {}).get("query"), "documents": (got or {}).get("documents")}
    if metadata.get("operation") == "embeddings":
        assert got is None
        one = (given or {}).get("text")
        return {"texts": [one] if one else (given or {}).get("texts")}
    asked = [message for message in _messages(given) if message.get("role") == "user"]
    words = [said for message in asked if (said := _words(message))]
    answers = _messages(got)
    return {
        "asked": words[-1] if words else (given if isinstance(given, str) else None),
        "said": " ".join(filter(None, map(_words, answers))) or None,
        "calls": [call for message in answers for call in _calls(message)] or None,
    }


def _messages(payload: Any) -> list[dict[str, Any]]:
    return payload.get("messages", []) if isinstance(payload, dict) else []


def _words(message: dict[str, Any]) -> str:
    content = message.get("content", message.get("parts")) or []
    if isinstance(content, str):
        return content
    said = (b.get("text", b.get("content")) for b in content if b.get("type", "text") == "text")
    return " ".join(each for each in said if isinstance(each, str))


def _calls(message: dict[str, Any]) -> list[list[Any]]:
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function", call)
        if "arguments" in function:  # none: content is off
            found.append([function["name"], _decoded(function["arguments"])])
    blocks = message.get("parts") or message.get("content") or []
    for block in blocks if isinstance(blocks, list) else []:
        if block.get("type") == "tool_call":
            found.append([block["name"], _decoded(block["arguments"])])
        elif "toolUse" in block:
            found.append([block["toolUse"]["name"], block["toolUse"]["input"]])
    return found


def _decoded(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments
