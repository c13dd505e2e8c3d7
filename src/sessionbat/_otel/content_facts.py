"""The facts that an event's content tells: taken anew whenever two arrivals become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat._otel import content_switches, names, values
from sessionbat._otel.chat import blocks_of, words_of
from sessionbat._otel.messages import asked_digest
from sessionbat._otel.parts import Event, Facts
from sessionbat._otel.transcripts import Call, pieces_of

_LENT: Final = ("model", "provider", "finish_reason", "finish_reason_raw", names.STATUS)
_TOKENS: Final = ("input_tokens", "output_tokens", "total_tokens")


def with_content(facts: Facts, event: Event | None) -> Facts:
    """Give the facts with all that the event's content adds to them."""
    return facts if event is None else facts._replace(**content_of(facts, event))


def content_of(facts: Facts, event: Event) -> dict[str, Any]:
    """Give the facts that an event's content tells, by their names."""
    observation = event["observation"]
    asked = _messages(observation.get("input"))
    answered = _messages(observation.get("output"))
    metrics = {
        name: value
        for name, value in observation["metrics"].items()
        if type(value) is int or type(value) is float
    }
    metadata = observation["metadata"]
    has_tokens = any(name in metrics for name in _TOKENS)
    error = observation.get("error")
    found = {
        "twin": _twin_of(facts, asked, answered, failed=error is not None),
        "has_tokens": has_tokens,
        "has_messages": bool(asked or answered),
        "richness": _richness(observation, bool(asked), bool(answered), has_tokens),
        "asked": asked_digest(asked) or facts.asked,
        "error_type": values.name(error.get("type")) if isinstance(error, dict) else None,
        "metrics": metrics,
        "about": {
            name: value[:200]
            for name in _LENT
            if isinstance(value := metadata.get(name), str) and value
        },
    }
    if facts.is_piece:
        found |= {"pair": _pair_of(observation), "tool": values.name(observation["name"])}
    return found


def mark_content(event: Event, facts: Facts) -> None:
    """Say in the event whether its emitter keeps messages to itself.

    Not of a call that failed: it may have had none to send.
    """
    observation = event["observation"]
    metadata = observation["metadata"]
    metadata.pop(names.CONTENT, None)
    if facts.kind not in ("llm", "tool", "log") or facts.operation or facts.from_transcript:
        return
    if observation["error"] is not None or content_switches.switch_for(facts.scope) is None:
        return
    if not (_speaks(observation["input"]) or _speaks(observation["output"])):
        metadata[names.CONTENT] = "off"


def _speaks(payload: Any) -> bool:
    """Whether there are words or arguments in a payload, not only roles and names of tools."""
    messages = None if payload is None else _messages(payload)
    return _words(messages) if messages else payload is not None


def _words(messages: list[Any]) -> bool:
    return any(words_of(each).strip() for each in messages) or any(
        values.dig(call, "function", "arguments") or values.dig(call, "arguments")
        for each in messages
        for call in (*values.listed(each.get("tool_calls")), *blocks_of(each))
    )


def _pair_of(observation: Mapping[str, Any]) -> str | None:
    """Digest a tool call that came in pieces; None until both are there."""
    name, output = values.name(observation["name"]), observation["output"]
    if name is None or output is None:
        return None
    said = (observation["metadata"].get("tool_call_id"), observation["input"], output)
    return values.digest(name, *map(values.canonical, said))


def _twin_of(facts: Facts, asked: list[Any], answered: list[Any], *, failed: bool) -> str | None:
    if facts.kind != "llm" or facts.operation or facts.start_ns is None:
        return None
    question = _last_of_user(asked)
    if not question:
        return None
    answer = " ".join([words_of(each).strip() for each in answered]).strip()
    if not answer:
        pieces = [piece for each in answered for piece in pieces_of(each)]
        calls = [(each.name, each.arguments) for each in pieces if isinstance(each, Call)]
        if not calls and not failed:
            return None
        answer = values.canonical(calls)
    return values.digest(question, answer, str(facts.start_ns // _MINUTE_NS))


_MINUTE_NS: Final = 60 * 10**9


def _last_of_user(asked: list[Any]) -> str:
    for message in reversed(asked):
        if values.text(message.get("role")) == "user" and (said := words_of(message).split()):
            return " ".join(said)
    return ""


def _messages(payload: Any) -> list[Any]:
    found = payload.get("messages") if isinstance(payload, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _richness(
    observation: Mapping[str, Any], has_asked: bool, has_answered: bool, has_tokens: bool
) -> int:
    error = observation.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return (
        8 * (observation.get("input") is not None)
        + 8 * (observation.get("output") is not None)
        + 8 * has_asked
        + 8 * has_answered
        + 6 * has_tokens
        + 2 * bool(message)
        + 1 * ("cache_read_tokens" in observation["metrics"])
        + 1 * ("reasoning_tokens" in observation["metrics"])
        + 1 * ("finish_reason" in observation["metadata"])
        + min(4, _fields_of_documents(observation.get("output")))
    )


def _fields_of_documents(output: Any) -> int:
    first = values.dig(output, "documents", 0)
    return len(first) - 1 if isinstance(first, dict) else 0
