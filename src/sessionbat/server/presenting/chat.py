"""A model call's input and output as a conversation, whichever of the common shapes it has.

Knows chat completions, content blocks, tool calls in four spellings, plain prompts and plain
strings. What it does not know it hands back as it is (``rest``, ``Other``), so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionbat.server.presenting.json_text import unwrap


@dataclass(frozen=True, slots=True)
class Words:
    """Text that somebody, or the model, said."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model asks for; ``arguments`` decoded when they were JSON in a string."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered."""

    content: Any


@dataclass(frozen=True, slots=True)
class Other:
    """A block of a kind unknown here: an image, a reasoning item, anything."""

    value: Any


Part = Words | Call | Result | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in one spelling."""

    #: ``system``, ``user``, ``assistant``, ``tool``, or as it came when it is none of these.
    role: str
    name: str
    parts: tuple[Part, ...]

    @property
    def words(self) -> str:
        """What is said in it, without calls, results and unknown blocks."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part, Words))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The tools it asks for."""
        return tuple(part for part in self.parts if isinstance(part, Call))


@dataclass(frozen=True, slots=True)
class Chat:
    """A payload read as messages, still as they came, and what of it is not a message."""

    messages: list[Any]
    rest: Any = None


def read_input(payload: Any) -> Chat:
    """Read what a model was asked; without messages the payload is all ``rest``."""
    if isinstance(payload, str):
        return Chat([{"role": "user", "content": payload}] if payload else [])
    if isinstance(payload, list):
        return Chat(payload) if _are_messages(payload) else Chat([], payload)
    if not isinstance(payload, dict):
        return Chat([], payload)
    for key in ("messages", "prompt", "input", "contents", "prompts", "question", "query"):
        messages = _as_messages(payload.get(key), "user")
        if messages:
            return _with_instructions(messages, _without(payload, key))
    return Chat([], payload or None)


def read_output(payload: Any) -> Chat:
    """Read what a model answered; without messages the payload is all ``rest``."""
    if isinstance(payload, str):
        return Chat([_said(payload)] if payload else [])
    if isinstance(payload, list):
        return Chat(payload) if _are_messages(payload) else Chat([], payload)
    if not isinstance(payload, dict):
        return Chat([], payload)
    if _is_message(payload) and ("role" in payload or "tool_calls" in payload):
        return Chat([{"role": "assistant", **payload}])
    for key in ("message", "messages", "output", "choices", "content", "text", "output_text"):
        messages = _as_messages(payload.get(key), "assistant")
        if messages:
            return Chat(messages, _without(payload, key) or None)
    return Chat([], payload or None)


def read_message(raw: Any, default_role: str = "user") -> Message:
    """Read one message, whatever it is spelt like; never raises."""
    if not isinstance(raw, Mapping):
        return Message(default_role, "", tuple(_read_content(raw)))
    role = _role(raw, default_role)
    parts = list(_read_parts(raw, role))
    rest = {k: v for k, v in raw.items() if k not in _READ_KEYS and v not in (None, "", [], {})}
    if rest:
        parts.append(Other(rest))
    name = raw.get("name")
    return Message(role, name if isinstance(name, str) else "", tuple(parts))


_ROLES = {
    "human": "user",
    "ai": "assistant",
    "aimessage": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function": "tool",
    "function_call_output": "tool",
    "function_call": "assistant",
    "developer": "system",
}
_CONTENT_KEYS = ("content", "parts", "text", "output")
_READ_KEYS = frozenset(
    {
        *("role", "type", "name", "id", "tool_call_id", "call_id", "tool_calls", "function_call"),
        *("content", "parts", "text", "output", "status", "index", "finish_reason", "arguments"),
    }
)
_CALL_TYPES = frozenset({"function_call", "tool_use", "tool_call"})
_RESULT_TYPES = frozenset({"function_call_output", "tool_result", "tool_call_response"})


def _role(raw: Mapping[str, Any], default: str) -> str:
    role = raw.get("role")
    if role is None and _type(raw) in _ROLES:
        role = _type(raw)
    role = role if isinstance(role, str) and role else default
    return _ROLES.get(role.lower(), role)


def _type(raw: Mapping[str, Any]) -> str:
    kind = raw.get("type")
    return kind if isinstance(kind, str) else ""


def _read_parts(raw: Mapping[str, Any], role: str) -> list[Part]:
    if _type(raw) in _CALL_TYPES | _RESULT_TYPES:
        return [_read_block(raw)]
    content = next((raw[key] for key in _CONTENT_KEYS if raw.get(key) is not None), None)
    if role == "tool":
        parts: list[Part] = [Result(unwrap(_joined(content)))]
    else:
        parts = _read_content(content)
    calls = raw.get("tool_calls")
    listed = calls if isinstance(calls, list) else []
    blocks = {call.name for call in parts if isinstance(call, Call)}
    # Some libraries repeat each call: once as a content block, once in the list of tool calls.
    parts.extend(
        c for c in map(_read_call, listed) if not isinstance(c, Call) or c.name not in blocks
    )
    if raw.get("function_call"):
        parts.append(_read_call(raw["function_call"]))
    return parts


def _read_content(content: Any) -> list[Part]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Words(content)]
    if isinstance(content, list):
        return [_read_block(block) for block in content]
    return [_read_block(content)]


def _read_block(block: Any) -> Part:
    if isinstance(block, str):
        return Words(block)
    if not isinstance(block, Mapping):
        return Other(block)
    kind = _type(block)
    if kind in _CALL_TYPES:
        return _read_call(block)
    if kind in _RESULT_TYPES:
        keys = ("content", "output", "result", "response")
        return Result(unwrap(_joined(next((block[k] for k in keys if k in block), None))))
    for key in ("text", "content"):
        text = block.get(key)
        if isinstance(text, str) and kind in ("", "text", "input_text", "output_text"):
            return Words(text)
    return Other(block)


def _read_call(call: Any) -> Part:
    if not isinstance(call, Mapping):
        return Other(call)
    inner = call.get("function")
    source = inner if isinstance(inner, Mapping) else call
    name = source.get("name")
    if not isinstance(name, str):
        return Other(call)
    keys = ("arguments", "args", "input")
    return Call(name, unwrap(next((source[k] for k in keys if source.get(k) is not None), {})))


def _joined(content: Any) -> Any:
    """A list of nothing but text blocks is that text: results often come as one such block."""
    if isinstance(content, list) and content:
        blocks = [_read_block(block) for block in content]
        if all(isinstance(block, Words) for block in blocks):
            return "\n\n".join(block.text for block in blocks if isinstance(block, Words))
    return content


def _as_messages(value: Any, role: str) -> list[Any]:
    if isinstance(value, str) and value:
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        return [{"role": role, **value}] if _is_message(value) else []
    if not isinstance(value, list) or not value:
        return []
    if len(value) == 1 and isinstance(value[0], list):
        return _as_messages(value[0], role)  # a batch of one conversation
    if all(isinstance(item, dict) and isinstance(item.get("message"), dict) for item in value):
        return [{"role": role, **item["message"]} for item in value]
    if all(isinstance(item, str) for item in value):
        return [{"role": role, "content": item} for item in value]
    if _are_blocks(value):
        return [{"role": role, "content": value}]
    if _are_messages(value):
        return [
            item if "role" in item or _type(item) in _ROLES else {"role": role, **item}
            for item in value
        ]
    return []


def _with_instructions(messages: list[Any], rest: dict[str, Any]) -> Chat:
    for key in ("system", "instructions", "system_instruction"):
        instructions = _as_messages(rest.get(key), "system")
        if instructions:
            return Chat([*instructions, *messages], _without(rest, key) or None)
    return Chat(messages, rest or None)


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("role"), str) or _type(value) in _ROLES:
        return True
    return any(value.get(key) is not None for key in ("content", "tool_calls", "parts", "text"))


def _are_messages(values: list[Any]) -> bool:
    # The ends tell; a conversation of hundreds is not inspected message by message.
    return (
        bool(values)
        and _is_message(values[0])
        and _is_message(values[-1])
        and all(isinstance(value, dict) for value in values)
    )


def _are_blocks(values: list[Any]) -> bool:
    kinds = {"text", "tool_use", "tool_result", "image_url", "image", "thinking", "output_text"}
    return all(isinstance(v, dict) and "role" not in v and _type(v) in kinds for v in values)


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _without(payload: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in payload.items() if k != key and v not in (None, "", [], {})}
