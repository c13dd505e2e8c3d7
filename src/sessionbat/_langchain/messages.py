"""LangChain messages → plain values: role, content blocks, reasoning, tool calls, media summed up.

Pure functions for ``payloads``. Fields are read where pydantic stores them: a missing
attribute of a message costs microseconds to ask for, and a property could be anybody's code.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

ROLES: Final = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
}

_REASONING: Final = frozenset({"reasoning", "thinking", "redacted_thinking", "reasoning_content"})
_CALLS: Final = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "function_call", "input_json_delta"}
)
_PLAIN_TEXT_KEYS: Final = frozenset({"type", "text", "index", "id"})
_MEDIA_KEYS: Final = frozenset({"data", "base64", "file_data", "b64_json"})
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^,]{0,200};base64,")
_MIN_MEDIA_CHARACTERS: Final = 64
_MAX_BLOCK_DEPTH: Final = 8


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
    content = fields.get("content")
    described: dict[str, Any] = {
        "role": ROLES.get(kind) or fields.get("role") or kind,
        "content": content if type(content) is str else content_value(content),
    }
    if fields.get("name"):
        described["name"] = fields["name"]
    calls = tool_calls(fields)
    if calls:
        described["tool_calls"] = calls
    if fields.get("tool_call_id"):
        described["tool_call_id"] = fields["tool_call_id"]
    if fields.get("status") == "error":
        described["status"] = "error"
    return described


def message_output(message: Any) -> dict[str, Any]:
    """Describe a message that a model answered: its text, and apart from it what else it holds."""
    fields = vars(message)
    content = fields.get("content")
    output: dict[str, Any] = {"text": text_of(content)}
    reasoning = (fields.get("additional_kwargs") or {}).get("reasoning_content")
    if isinstance(content, list):
        blocks = [block for block in content if _block_type(block) not in _REASONING]
        if any(_says_more_than_text(block) for block in blocks):
            output["content"] = content_value(blocks)
        reasoning = "".join(_reasoning_text(block) for block in content) or reasoning
    if reasoning:
        output["reasoning"] = reasoning
    calls = tool_calls(fields)
    if calls:
        output["tool_calls"] = calls
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


def tool_calls(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the calls that a message asks for; those that could not be parsed say why."""
    calls: list[dict[str, Any]] = []
    for call in fields.get("tool_calls") or ():
        calls.append({key: call.get(key) for key in ("id", "name", "args")})
    for call in fields.get("invalid_tool_calls") or ():
        calls.append({key: call.get(key) for key in ("id", "name", "args", "error")})
    return calls


def content_value(content: Any) -> Any:
    """Describe a message's content: text as it is, blocks with their media summed up."""
    return _block_value(content, {}, _MAX_BLOCK_DEPTH)


def text_of(content: Any) -> str:
    """Get the text of a message's content, without reasoning."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [
        block if isinstance(block, str) else block.get("text")
        for block in content
        if isinstance(block, str) or _block_type(block) == "text"
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _block_value(value: Any, around: Mapping[str, Any], depth: int) -> Any:
    if isinstance(value, dict) and depth:
        return {key: _field(key, inner, value, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_block_value(item, around, depth - 1) for item in value]
    return value


def _field(key: Any, value: Any, around: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(value, str):
        return _block_value(value, around, depth)
    if len(value) < _MIN_MEDIA_CHARACTERS:
        return value
    data_url = _DATA_URL.match(value)
    if data_url is not None:
        return _media_object(value[data_url.end() :], data_url.group(1))
    if key in _MEDIA_KEYS and around.get("type") not in _REASONING:
        named = around.get("mime_type") or around.get("media_type") or around.get("format")
        return _media_object(value, named)
    return value


def _media_object(encoded: str, media_type: Any) -> dict[str, Any]:
    try:
        data = binascii.a2b_base64(encoded)
    except ValueError:
        data = encoded.encode("utf-8", "surrogatepass")
    return {"type": media_type, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _block_type(block: Any) -> Any:
    return block.get("type") if isinstance(block, dict) else None


def _says_more_than_text(block: Any) -> bool:
    if isinstance(block, str):
        return False
    kind = _block_type(block)
    if kind == "text":
        return any(value and key not in _PLAIN_TEXT_KEYS for key, value in block.items())
    return kind not in _CALLS


def _reasoning_text(block: Any) -> str:
    if _block_type(block) not in _REASONING:
        return ""
    said = block.get("reasoning") or block.get("thinking") or block.get("text")
    if isinstance(said, str):
        return said
    parts = block.get("summary")
    if not isinstance(parts, list):
        return ""
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
