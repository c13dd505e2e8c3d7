"""Messages that came as events of a span, or as log records: one each, named by who speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.chat import Message, as_message, says_anything
from sessionbat._otel.model import SpanEvent

MAX_EVENTS: Final = 5_000

ASKED: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
CHOICE: Final = "gen_ai.choice"
#: Carries the attributes of the whole call.
DETAILS: Final = "gen_ai.client.inference.operation.details"
_WHOLE: Final = {"gen_ai.content.prompt": "gen_ai.prompt"}
_WHOLE_ANSWER: Final = {"gen_ai.content.completion": "gen_ai.completion"}


def asked_in(events: Sequence[SpanEvent]) -> list[Message]:
    """Give the messages that a span's events say were asked, in their order."""
    return [
        message
        for event in events[:MAX_EVENTS]
        if event.name in ASKED and (message := message_of(event.name, event.attributes))
    ]


def answered_in(events: Sequence[SpanEvent]) -> list[Message]:
    """Give the answers in a span's events."""
    return [
        message
        for event in events[:MAX_EVENTS]
        if event.name == CHOICE and (message := message_of(event.name, event.attributes))
    ]


def details_in(events: Sequence[SpanEvent]) -> Mapping[str, Any]:
    """Give the attributes of the event that tells of the whole call; empty where there is none."""
    found: dict[str, Any] = {}
    for event in events[:MAX_EVENTS]:
        if event.name == DETAILS:
            found.update(event.attributes)
        for source in (_WHOLE, _WHOLE_ANSWER):
            key = source.get(event.name)
            if key is not None and event.attributes.get(key) is not None:
                found[key] = event.attributes[key]
    return found


def message_of(name: str, said: Mapping[str, Any]) -> Message | None:
    """Write one event as a message; None when nothing is said in it, as with content off."""
    role = ASKED.get(name, "assistant")
    whole = values.decoded(said.get("message"))
    if isinstance(whole, dict):
        message = as_message({**whole, "content": values.decoded(whole.get("content"))}, role)
    else:
        message = _of_content(said, whole, role)
    calls = values.decoded(said.get("tool_calls"))
    if isinstance(calls, list) and calls:
        message["tool_calls"] = calls
    id_ = values.name(said.get("id"))
    if role == "tool" and id_:
        message.setdefault("tool_call_id", id_)
    reason = values.name(said.get("finish_reason"))
    if not says_anything(message):
        return None
    return {**message, "finish_reason": reason} if reason else message


def _of_content(said: Mapping[str, Any], whole: Any, role: str) -> Message:
    content = values.decoded(said.get("content") if whole is None else whole)
    role = values.text(said.get("role")) or role
    if isinstance(content, dict) and "parts" in content:  # Gemini
        role = values.text(content.get("role")) or role
        return as_message({"role": role, "parts": content["parts"]})
    if content is None and "parts" in said:
        return as_message({"role": role, "parts": values.decoded(said["parts"])})
    return as_message({"role": role, "content": content})
