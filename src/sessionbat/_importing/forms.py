"""What a record of a file is: an exported event, or a transcript in one of seven spellings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from sessionbat._importing.json_values import Json
from sessionbat._importing.transcripts import holds_messages
from sessionbat.event import FEEDBACK

Form = Literal[
    "events", "chat", "anthropic", "responses", "gemini", "bedrock", "langchain", "sharegpt"
]

#: As it is shown.
NAMES: Final[dict[Form, str]] = {
    "events": "SessionBat events",
    "chat": "chat completions",
    "anthropic": "Anthropic messages",
    "responses": "OpenAI Responses items",
    "gemini": "Gemini contents",
    "bedrock": "Bedrock converse messages",
    "langchain": "LangChain messages",
    "sharegpt": "ShareGPT conversations",
}


def tell_form(record: object) -> Form | None:
    """Tell what a record holds by the keys that only one form has; None when it has none."""
    if isinstance(record, dict) and ("observation" in record or _is_feedback(record)):
        return "events"
    if not holds_messages(record):
        return None
    for message in _messages(record):
        form = _form_of(message)
        if form is not None:
            return form
    if isinstance(record, dict):
        return "gemini" if "contents" in record else "responses" if "input" in record else "chat"
    return "chat"


def _is_feedback(record: Json) -> bool:
    return record.get("type") == FEEDBACK and isinstance(record.get("feedback"), dict)


_ANTHROPIC: Final = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})
_BEDROCK: Final = frozenset({"toolUse", "toolResult", "reasoningContent"})
_LANGCHAIN: Final = frozenset({"human", "ai", "HumanMessage", "AIMessage"})


def _messages(record: Any) -> Iterator[Json]:
    values = [record] if isinstance(record, list) else record.values()
    for value in values:
        if isinstance(value, list):
            yield from (message for message in value if isinstance(message, dict))


def _form_of(message: Json) -> Form | None:
    """Tell what one message can only be; most can be of several forms."""
    kind = message.get("type")
    if "lc" in message or (isinstance(kind, str) and kind in _LANGCHAIN):
        return "langchain"
    if "from" in message and "value" in message:
        return "sharegpt"
    if "parts" in message:
        return "gemini"
    if isinstance(kind, str) and (
        kind == "reasoning" or kind.endswith(("_call", "_call_output")) or kind == "message"
    ):
        return "responses"
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            if block.get("type") in _ANTHROPIC or (
                block.get("type") == "image" and "source" in block
            ):
                return "anthropic"
            if not _BEDROCK.isdisjoint(block) or ("type" not in block and "text" in block):
                return "bedrock"
    return None
