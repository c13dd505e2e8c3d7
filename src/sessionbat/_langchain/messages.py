"""LangChain messages → plain values: role, content blocks, reasoning, tool calls, media summed up.

Pure functions for ``payloads``. Fields are read where pydantic stores them: a missing
attribute of a message costs microseconds to ask for, and a property could be anybody's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sessionbat._langchain.media import summed_up, text_summed_up
from sessionbat._langchain.said import (
    REASONING_BLOCKS,
    reasoning_outside,
    reasoning_text,
    said_outside,
    tool_calls,
    transcript_of,
)

ROLES: Final = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
}

_CALLS: Final = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "function_call", "input_json_delta"}
)
_PLAIN_TEXT_KEYS: Final = frozenset({"type", "text", "index", "id"})
#: Of a message said before, what stands outside its content; reasoning is not repeated.
_SAID_BEFORE: Final = ("refusal", "audio")


def is_langchain(value: object, name: str) -> bool:
    """Whether a value is of a LangChain or LangGraph class, told without running its code."""
    return any(
        kind.__name__ == name and kind.__module__.startswith(("langchain", "langgraph"))
        for kind in type(value).__mro__
    )


def message_input(message: Any) -> dict[str, Any]:
    """Describe a message that a model is asked: role and content, the rest where it has some."""
    fields = vars(message)
    kind = fields.get("type", "")
    described: dict[str, Any] = {
        "role": ROLES.get(kind) or fields.get("role") or kind,
        "content": summed_up(fields.get("content")),
    }
    if fields.get("name"):
        described["name"] = fields["name"]
    calls = tool_calls(fields) if "tool_calls" in fields else None
    if calls:
        described["tool_calls"] = calls
    if fields.get("additional_kwargs"):
        said = said_outside({"additional_kwargs": fields["additional_kwargs"]})
        described |= {name: said[name] for name in _SAID_BEFORE if name in said}
    if fields.get("tool_call_id"):
        described["tool_call_id"] = fields["tool_call_id"]
    if fields.get("status") == "error":
        described["status"] = "error"
    if kind == "remove":
        described["id"] = fields.get("id")
    return described


def message_fields_output(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a message that a model answered: its text, and apart from it what else it holds."""
    content = fields.get("content")
    text = text_of(content) or transcript_of(fields)
    output: dict[str, Any] = {"text": text_summed_up(text)}
    calls = tool_calls(fields)
    reasoning = ""
    if isinstance(content, list):
        output |= _blocks_beside_text(content, calls)
        reasoning = "".join(_reasoning_in(block) for block in content)
    reasoning = reasoning or reasoning_outside(fields)
    if reasoning:
        output["reasoning"] = reasoning
    if calls:
        output["tool_calls"] = calls
    if fields.get("additional_kwargs") or fields.get("response_metadata"):
        output |= said_outside(fields)
    return output


def says_something(token: Any, chunk: Any) -> bool:
    """Whether a piece of a stream holds some of the answer: the first often names the role only."""
    if token:
        return True
    fields = vars(getattr(chunk, "message", chunk)) if chunk is not None else {}
    return bool(
        fields.get("content") or fields.get("tool_call_chunks") or fields.get("additional_kwargs")
    )


def text_of_event(event: Mapping[str, Any]) -> str | None:
    """Get what an event of a version 3 stream adds to the answer; None when it adds nothing."""
    if event.get("event") != "content-block-delta":
        return None
    text = event["delta"].get("text")
    return text if isinstance(text, str) else ""


def text_of(content: Any) -> str:
    """Get the text of a message's content, without reasoning."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [
        block if isinstance(block, str) else block.get("text")
        for block in content
        if isinstance(block, str) or (_block_type(block) == "text" and not block.get("thought"))
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _blocks_beside_text(content: list[Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe blocks that say more than text, and what of the reasoning is not to be read."""
    blocks = [block for block in content if not _is_reasoning(block)]
    described: dict[str, Any] = {}
    if any(_says_more_than_text(block, calls) for block in blocks):
        described["content"] = summed_up(blocks)
    refused = [block.get("refusal") for block in blocks if _block_type(block) == "refusal"]
    if refused and all(isinstance(words, str) for words in refused):
        described["refusal"] = "".join(refused)
    hidden = sum(_is_reasoning(block) and not _reasoning_in(block) for block in content)
    if hidden:
        described["redacted_reasoning"] = hidden
    return described


def _block_type(block: Any) -> str | None:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else None


def _is_reasoning(block: Any) -> bool:
    kind = _block_type(block)
    return kind in REASONING_BLOCKS or (kind == "text" and bool(block.get("thought")))


def _says_more_than_text(block: Any, calls: list[dict[str, Any]]) -> bool:
    if isinstance(block, str):
        return False
    kind = _block_type(block)
    if kind == "text":
        return any(value and key not in _PLAIN_TEXT_KEYS for key, value in block.items())
    return kind not in _CALLS or not calls


def _reasoning_in(block: Any) -> str:
    return reasoning_text(block) if _is_reasoning(block) else ""
