"""Reads one message in the format of any known library: its role, its text, its tool calls.

Knows chat completions, Responses items, Anthropic blocks, Gemini and OTel parts, Bedrock, Cohere,
LangChain dumps, the Vercel AI SDK, PydanticAI, LlamaIndex and ShareGPT. Unknown blocks are handed
back unchanged (``Other``), so nothing is lost. Never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sessionbat.server.reading.json_values import unwrap


@dataclass(frozen=True, slots=True)
class Words:
    """Text of a person or of the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call by the model; ``arguments`` are decoded when they were JSON in a string."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's answer."""

    content: Any


@dataclass(frozen=True, slots=True)
class Other:
    """A block of any other type: an image, a reasoning item, an unknown one."""

    value: Any


Part = Words | Call | Result | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in a common form."""

    #: ``system``, ``user``, ``assistant``, ``tool``; any other role is unchanged.
    role: str
    name: str
    parts: tuple[Part, ...]

    @property
    def words(self) -> str:
        """Its text, without tool calls, results and unknown blocks."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part, Words))

    @property
    def calls(self) -> tuple[Call, ...]:
        """Its tool calls."""
        return tuple(part for part in self.parts if isinstance(part, Call))


def read_message(raw: Any, default_role: str = "user") -> Message:
    """Read one message of any format; never raises."""
    if not isinstance(raw, Mapping):
        return Message(default_role, "", tuple(_read_content(raw)))
    raw = opened(raw)
    role = _role(raw, default_role)
    if _is_work(raw):
        return Message(role, "", (Other(raw),))
    parts = list(_read_parts(raw, role))
    rest = {k: v for k, v in raw.items() if k not in _READ_KEYS and v not in (None, "", [], {})}
    if rest:
        parts.append(Other(rest))
    name = raw.get("name")
    return Message(role, name if isinstance(name, str) else "", tuple(parts))


def role_of(raw: Any, default: str = "user") -> str:
    """Return a message's role without reading its content."""
    return _role(opened(raw), default) if isinstance(raw, Mapping) else default


def words_of(raw: Any, default_role: str = "user") -> Iterator[str]:
    """Return only the text of a message: like ``read_message``, but cheaper."""
    if not isinstance(raw, Mapping):
        yield from filter(None, map(_block_words, _blocks(raw)))
        return
    raw = opened(raw)
    role = _role(raw, default_role)
    if role != "tool" and _type(raw) not in _SILENT_TYPES and not _is_work(raw):
        yield from filter(None, map(_block_words, _blocks(_content(raw))))
        yield from _refusal(raw, role)


def words_of_user(raw: Any) -> str:
    """Return the text of a message by the user; empty when it is by another role."""
    if type(raw) is dict and raw.keys() == _PLAIN_KEYS and type(raw["content"]) is str:
        return raw["content"] if _role(raw, "user") == "user" else ""  # nearly always
    return "\n\n".join(words_of(raw)) if role_of(raw) == "user" else ""


def is_message(value: Any) -> bool:
    """Whether an object looks like a message, or like one item of an OpenAI response."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("role"), str) or is_item(value):
        return True
    if any(value.get(key) is not None for key in _CONTENT_KEYS + _CALL_KEYS):
        return True
    return ("from" in value and "value" in value) or opened(value) is not value


def is_item(value: Mapping[str, Any]) -> bool:
    """Whether an object's ``type`` is that of an item in a list of messages."""
    kind = _type(value).lower()
    return kind in _ROLES or kind in _ITEM_TYPES or kind.endswith(_ITEM_ENDINGS)


def is_block(value: Any) -> bool:
    """Whether an object is a piece of a message rather than a message."""
    if not isinstance(value, dict) or "role" in value or is_item(value):
        return False
    kind = _type(value)
    return kind in _BLOCK_TYPES or (kind == "" and not _BLOCK_KEYS.isdisjoint(value))


def opened(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Unwrap a message from a choice, a candidate or a LangChain dump."""
    if isinstance(raw.get("role"), str):
        return raw  # nearly always
    for _ in range(3):  # a dumped generation holds a dumped message
        inner = _inner(raw)
        if inner is None:
            break
        raw = inner
        if isinstance(raw.get("role"), str):
            break
    return raw


_ROLES: Final = {
    **dict.fromkeys(("user", "human", "humanmessage", "humanmessagechunk", "prompter"), "user"),
    **dict.fromkeys(("customer", "end_user", "end-user"), "user"),
    **dict.fromkeys(("assistant", "ai", "aimessage", "aimessagechunk", "model"), "assistant"),
    **dict.fromkeys(("bot", "chatbot", "gpt", "function_call"), "assistant"),
    **dict.fromkeys(("system", "developer", "systemmessage", "systemmessagechunk"), "system"),
    **dict.fromkeys(("tool", "function", "toolmessage", "toolmessagechunk"), "tool"),
    **dict.fromkeys(("functionmessage", "function_call_output", "observation"), "tool"),
}
#: PydanticAI's messages name their direction.
_DIRECTIONS: Final = {"request": "user", "response": "assistant"}

_ITEM_TYPES: Final = frozenset(
    {"message", "reasoning", "item_reference", "compaction", "mcp_list_tools"}
)
_ITEM_ENDINGS: Final = ("_call", "_call_output", "_approval_request", "_approval_response")

_CONTENT_KEYS: Final = (
    *("parts", "content", "text", "output", "blocks", "message", "generated_text", "outputText"),
)
_PLAIN_KEYS: Final = {"role", "content"}
_CALL_KEYS: Final = ("tool_calls", "toolCalls", "function_call")
_READ_KEYS: Final = frozenset(
    {
        *("role", "type", "name", "id", "tool_call_id", "call_id", "function_call", "from", "kind"),
        *("status", "index", "finish_reason", "arguments", "example", "invalid_tool_calls"),
        *(_CONTENT_KEYS + _CALL_KEYS),
    }
)
_TEXT_TYPES: Final = frozenset(
    {"", "text", "input_text", "output_text", "user-prompt", "text-delta", "message"}
)
_CALL_TYPES: Final = frozenset(
    {"function_call", "custom_tool_call", "tool_use", "tool_call", "tool-call"}
)
_RESULT_TYPES: Final = frozenset(
    {
        *("function_call_output", "custom_tool_call_output", "tool_result", "tool-result"),
        *("tool_call_response", "tool-return"),
    }
)
_SILENT_TYPES: Final = _CALL_TYPES | _RESULT_TYPES
_BLOCK_TYPES: Final = frozenset(
    {
        *("text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking"),
        *("tool_use", "tool_result", "server_tool_use", "web_search_tool_result", "tool-call"),
        *("tool-result", "image", "image_url", "input_image", "input_file", "input_audio"),
        *("document", "file", "audio", "video", "user-prompt", "tool-return"),
    }
)
#: Blocks of Gemini and Bedrock have no type; their key identifies them.
_CALL_BLOCKS: Final = ("functionCall", "function_call", "toolUse")
_RESULT_BLOCKS: Final = ("functionResponse", "function_response", "toolResult")
_BLOCK_KEYS: Final = frozenset(
    {"text", "inlineData", "inline_data", "fileData", "reasoningContent", "thought"}
    | {*_CALL_BLOCKS, *_RESULT_BLOCKS}
)


def _inner(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for key in ("message", "delta"):
        if isinstance(raw.get(key), dict):
            return raw[key]  # type: ignore[no-any-return]
    kwargs, data, content = raw.get("kwargs"), raw.get("data"), raw.get("content")
    if isinstance(kwargs, dict) and "lc" in raw:
        place = raw.get("id")
        named = isinstance(place, list) and place and isinstance(place[-1], str)
        return {"type": place[-1], **kwargs} if named and isinstance(place, list) else kwargs
    if isinstance(data, dict) and _type(raw).lower() in _ROLES:
        return {"type": raw["type"], **data}
    if isinstance(content, dict) and ("parts" in content or "role" in content):
        return content  # a candidate of Gemini
    return None


def _role(raw: Mapping[str, Any], default: str) -> str:
    role = raw.get("role")
    if isinstance(role, str) and (known := _ROLES.get(role)):
        return known  # nearly always
    if isinstance(role, str) and role.strip():
        return _ROLES.get(role.strip().rpartition(".")[2].lower(), role)  # also MessageRole.USER
    for key, roles in (("from", _ROLES), ("kind", _DIRECTIONS)):
        named = raw.get(key)
        if isinstance(named, str) and named.lower() in roles:
            return roles[named.lower()]
    kind = _type(raw).lower()
    if kind in _ROLES:
        return _ROLES[kind]
    if kind.endswith("_call_output"):
        return "tool"
    return "assistant" if kind == "reasoning" or kind.endswith("_call") else default


def _type(raw: Mapping[str, Any]) -> str:
    for key in ("type", "part_kind", "block_type"):
        kind = raw.get(key)
        if isinstance(kind, str):
            return kind
    return ""


def _is_work(raw: Mapping[str, Any]) -> bool:
    """Whether an item is the model's own work: its reasoning, or a search by the provider."""
    kind = _type(raw)
    return kind == "reasoning" or (kind.endswith("_call") and kind not in _CALL_TYPES)


def _content(raw: Mapping[str, Any]) -> Any:
    """Return the content: the value of the first key that is not empty."""
    for key in _CONTENT_KEYS:
        if raw.get(key):
            return raw[key]
    return raw.get("value") if "from" in raw else None


def _blocks(content: Any) -> list[Any]:
    if content is None or content == "":
        return []
    return content if isinstance(content, list) else [content]


def _read_parts(raw: Mapping[str, Any], role: str) -> list[Part]:
    if _type(raw) in _SILENT_TYPES:
        return [_read_block(raw)]
    content = _content(raw)
    if role == "tool" and not _holds_results(content):
        parts: list[Part] = [Result(unwrap(_joined(content)))]
    else:
        parts = _read_content(content)
    parts.extend(Words(words) for words in _refusal(raw, role))
    calls = raw.get("tool_calls") or raw.get("toolCalls")
    listed = calls if isinstance(calls, list) else []
    blocks = {call.name for call in parts if isinstance(call, Call)}
    # Some libraries repeat each call: once as a content block, once in the list of tool calls.
    parts.extend(
        c for c in map(_read_call, listed) if not isinstance(c, Call) or c.name not in blocks
    )
    if raw.get("function_call"):
        parts.append(_read_call(raw["function_call"]))
    return parts


def _holds_results(content: Any) -> bool:
    """Whether a tool's message is a list of results, each a block of its own."""
    return isinstance(content, list) and any(
        isinstance(block, Mapping)
        and (_type(block) in _RESULT_TYPES or any(key in block for key in _RESULT_BLOCKS))
        for block in content
    )


def _refusal(raw: Mapping[str, Any], role: str) -> Iterator[str]:
    refusal = raw.get("refusal")
    if role == "assistant" and isinstance(refusal, str) and refusal:
        yield refusal


def _read_content(content: Any) -> list[Part]:
    return [_read_block(block) for block in _blocks(content)]


def _block_words(block: Any) -> str | None:
    """Return the text of a block; None when it is not a text block."""
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping) or block.get("thought") is True:
        return None
    kind = _type(block)
    if kind == "refusal":
        refusal = block.get("refusal")
        return refusal if isinstance(refusal, str) else None
    if kind not in _TEXT_TYPES:
        return None
    for key in ("text", "content", "outputText"):
        words = block.get(key)
        if isinstance(words, Mapping):
            words = words.get("value")  # OpenAI's Assistants keep annotations beside the text
        if isinstance(words, str):
            return words
    return None


def _read_block(block: Any) -> Part:
    words = _block_words(block)
    if words is not None:
        return Words(words)
    if not isinstance(block, Mapping):
        return Other(block)
    kind = _type(block)
    if kind in _CALL_TYPES:
        return _read_call(block)
    if kind in _RESULT_TYPES:
        return _read_result(block)
    for key in _CALL_BLOCKS:
        if isinstance(block.get(key), Mapping):
            return _read_call(block[key])
    for key in _RESULT_BLOCKS:
        if isinstance(block.get(key), Mapping):
            return _read_result(block[key])
    if kind.startswith("tool-") and "input" in block:
        return Call(kind.removeprefix("tool-"), unwrap(block["input"]))
    return Other(block)


def _read_result(block: Mapping[str, Any]) -> Result:
    keys = ("content", "output", "result", "response")
    content = _joined(next((block[k] for k in keys if k in block), None))
    if isinstance(content, Mapping) and set(content) == {"type", "value"}:
        content = content["value"]  # the Vercel AI SDK says whether it is text or JSON
    return Result(unwrap(content))


def _read_call(call: Any) -> Part:
    if not isinstance(call, Mapping):
        return Other(call)
    inner = call.get("function")
    source = inner if isinstance(inner, Mapping) else call
    names = ("name", "toolName", "tool_name")
    name = next((source[key] for key in names if isinstance(source.get(key), str)), None)
    if name is None:
        return Other(call)
    keys = ("arguments", "args", "input", "parameters", "tool_kwargs")
    return Call(name, unwrap(next((source[k] for k in keys if source.get(k) is not None), {})))


def _joined(content: Any) -> Any:
    """Join a list of only text blocks into one text; tool results often are one such block."""
    if isinstance(content, list) and content:
        words = [_block_words(block) for block in content]
        if None not in words:
            return "\n\n".join(filter(None, words))
        if len(content) == 1 and isinstance(content[0], Mapping) and set(content[0]) == {"json"}:
            return content[0]["json"]  # Bedrock
    return content
