"""One message of a transcript in any spelling: who speaks, which tools it calls or answers for.

Read: chat completions (with ``tool_calls`` or ``function_call``), Anthropic's and Bedrock's blocks,
items of OpenAI's Responses, Gemini's parts, LangChain's dumps, ShareGPT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sessionbat._importing.bad import BadLine
from sessionbat._importing.json_values import Json, decoded, encode, text


class ToolCall(NamedTuple):
    """A tool that the model asks for."""

    #: None where the transcript has none; then the result is found by the tool's name.
    id: str | None
    name: str
    arguments: Any


class ToolResult(NamedTuple):
    """A tool's answer."""

    call_id: str | None
    name: str | None
    output: Any
    #: True, or what the transcript says of the error; None where it says nothing of any.
    error: Any


@dataclass(frozen=True, slots=True)
class Said:
    """One message, or the items of a model's one answer."""

    #: ``user``, ``assistant``, ``tool``, ``system``, or the role as it came.
    role: str
    #: As they stand in the file.
    raw: list[Json]
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    model: str | None = None
    at: datetime | None = None
    error: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    #: Whether it is an item of OpenAI's Responses, of which several make one answer.
    is_item: bool = False


def read_said(raw: object, at: str) -> Said:
    """Read one message.

    Args:
        raw: The message as decoded.
        at: Where it stands, for the reason of what is raised.

    Raises:
        BadLine: It is none.
    """
    if not isinstance(raw, dict):
        raise BadLine(f"{at} is not an object")
    message = _opened(raw)
    role = _role(message)
    if role is None:
        raise BadLine(f"{at}.role is missing")
    blocks, about = _blocks(message), _mapping(message.get("response_metadata"))
    results = list(_results(message, role, blocks))
    if role == "user" and results and not any(map(_says_something, blocks)):
        role = "tool"  # Anthropic's, Bedrock's and Gemini's tools answer in the user's name
    return Said(
        role=role,
        raw=[raw],
        calls=list(_calls(message, blocks, at)) if role == "assistant" else [],
        results=results,
        model=text(message.get("model")) or text(about.get("model_name")),
        at=_time(raw) or _time(message),
        error=_error(message) if role == "assistant" else None,
        metrics=_metrics(message),
        is_item=_is_item(message),
    )


def looks_like_message(value: object) -> bool:
    """Whether a value says who speaks."""
    return isinstance(value, dict) and _role(_opened(value)) is not None


_ROLES: Final = {
    "human": "user",
    "humanmessage": "user",
    "humanmessagechunk": "user",
    "ai": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "function": "tool",
    "toolmessage": "tool",
    "functionmessage": "tool",
    "observation": "tool",
    "developer": "system",
    "systemmessage": "system",
}
_KNOWN: Final = frozenset({"user", "assistant", "tool", "system", *_ROLES})
_CALL_TYPES: Final = ("tool_use", "tool_call", "tool-call", "function_call", "custom_tool_call")
_RESULT_TYPES: Final = ("tool_result", "tool-result", "tool_call_response")
_TIMES: Final = ("timestamp", "created_at", "createdAt", "create_time", "created", "time")


def _opened(raw: Json) -> Json:
    """Take a message out of a LangChain dump, a choice, or a line of an agent's log."""
    kwargs, data, inner = raw.get("kwargs"), raw.get("data"), raw.get("message")
    if isinstance(kwargs, dict) and "lc" in raw:
        place = raw.get("id")
        return {"type": place[-1], **kwargs} if isinstance(place, list) and place else kwargs
    if isinstance(data, dict) and isinstance(raw.get("type"), str):
        return {"type": raw["type"], **data}
    if isinstance(inner, dict) and "role" in inner:
        return inner
    return raw


def _role(message: Json) -> str | None:
    role = text(message.get("role"))
    if role is not None:
        return _ROLES.get(role.lower(), role.lower() if role.lower() in _KNOWN else role)
    kind = (text(message.get("from")) or text(message.get("type")) or "").lower()
    if kind in _KNOWN and kind != "function":
        return _ROLES.get(kind, kind)
    if kind.endswith("_call_output"):
        return "tool"
    return "assistant" if kind == "reasoning" or kind.endswith("_call") else None


def _is_item(message: Json) -> bool:
    kind = message.get("type")
    return isinstance(kind, str) and (
        kind in ("message", "reasoning") or kind.endswith(("_call", "_call_output"))
    )


def _blocks(message: Json) -> list[Any]:
    content = message.get("parts") or message.get("content") or message.get("value")
    return content if isinstance(content, list) else [] if content is None else [content]


def _says_something(block: Any) -> bool:
    words = block if isinstance(block, str) else _mapping(block).get("text")
    return isinstance(words, str) and bool(words.strip())


def _calls(message: Json, blocks: list[Any], at: str) -> Iterator[ToolCall]:
    listed = message.get("tool_calls")
    if not isinstance(listed, list | None):
        raise BadLine(f"{at}.tool_calls must be an array")
    extra = _mapping(message.get("additional_kwargs"))
    legacy = message.get("function_call") or extra.get("function_call")
    if not listed and isinstance(extra.get("tool_calls"), list):
        listed = extra["tool_calls"]
    for place, call in enumerate(listed or ()):
        yield _call(call, f"{at}.tool_calls[{place}].function")
    if legacy:
        yield _call(legacy, f"{at}.function_call")
    if message.get("type") in _CALL_TYPES:
        yield _call(message, at)
    for place, block in enumerate(blocks):
        inner = _in_block(block, _CALL_TYPES, ("toolUse", "functionCall", "function_call"))
        # LangChain lists each call twice: as a block and among the tool calls.
        if inner is not None and not listed:
            yield _call(inner, f"{at}.content[{place}]")


def _call(call: Any, at: str) -> ToolCall:
    outer = _mapping(call)
    inner = outer["function"] if isinstance(outer.get("function"), dict) else outer
    name = text(inner.get("name")) or text(inner.get("toolName"))
    if name is None:
        raise BadLine(f"{at}.name is missing")
    keys = ("arguments", "args", "input", "parameters")
    arguments = next((inner[key] for key in keys if inner.get(key) is not None), None)
    return ToolCall(_call_id(outer), name, decoded(arguments))


def _call_id(call: Json) -> str | None:
    keys = ("call_id", "tool_call_id", "tool_use_id", "toolUseId", "toolCallId", "id")
    return next(filter(None, (text(call.get(key)) for key in keys)), None)


def _in_block(block: Any, types: tuple[str, ...], keys: tuple[str, ...]) -> Json | None:
    known = _mapping(block)
    if known.get("type") in types:
        return known
    return next((known[key] for key in keys if isinstance(known.get(key), dict)), None)


def _results(message: Json, role: str, blocks: list[Any]) -> Iterator[ToolResult]:
    found = [
        inner
        for block in blocks
        if (inner := _in_block(block, _RESULT_TYPES, _RESULT_KEYS)) is not None
    ]
    if role not in ("user", "tool"):
        return
    for result in found or ([message] if role == "tool" else []):
        keys = ("content", "output", "result", "response", "value")
        output = next((result[key] for key in keys if key in result), None)
        name = text(result.get("name")) or text(result.get("toolName"))
        # The id of a tool's message is its own, not the call's.
        call_id = _call_id({k: v for k, v in result.items() if k != "id" or result is not message})
        yield ToolResult(call_id, name, _output(output), _error(result))


_RESULT_KEYS: Final = ("toolResult", "functionResponse", "function_response")


def _output(content: Any) -> Any:
    """Give a tool's result: an object or array if its text is one, else the text as it stands.

    A bare number stays text, since decoding might change its digits.
    """
    if isinstance(content, list) and len(content) == 1:
        only = _mapping(content[0])
        if set(only) == {"json"}:
            return only["json"]
        if set(only) <= {"type", "text"} and isinstance(only.get("text"), str):
            content = only["text"]
    if isinstance(content, str) and content.lstrip()[:1] in ("{", "["):
        return decoded(content)
    return content


def _error(message: Json) -> Any:
    """Give the error that a message says it is; None where it says nothing of any."""
    error = message.get("error")
    if error not in (None, False, "", {}, []):
        return error
    flagged = any(message.get(key) is True for key in ("is_error", "isError"))
    return True if flagged or message.get("status") in ("error", "failed") else None


def error_of(result: ToolResult) -> Any:
    """Write a result's error as an observation's; None where it is none."""
    if result.error is None or isinstance(result.error, (str, dict)):
        return result.error
    words = result.output if isinstance(result.output, str) else encode(result.output).decode()
    return {"type": "ToolError", "message": words[:2000]}


def _metrics(message: Json) -> dict[str, float]:
    usage = _mapping(message.get("usage") or message.get("usage_metadata"))
    cached = sum(
        _count(usage.get(key)) or 0
        for key in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    found = {
        "input_tokens": _first_count(usage, "input_tokens", "prompt_tokens", "inputTokens"),
        "output_tokens": _first_count(usage, "output_tokens", "completion_tokens", "outputTokens"),
    }
    if found["input_tokens"] is not None:
        found["input_tokens"] += cached  # Anthropic counts them apart
    return {name: value for name, value in found.items() if value is not None}


def _first_count(usage: Json, *keys: str) -> int | None:
    return next((n for key in keys if (n := _count(usage.get(key))) is not None), None)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _time(message: Json) -> datetime | None:
    """Read when a message was said; None where it does not say so."""
    for key in _TIMES:
        value = message.get(key)
        try:
            if isinstance(value, str):
                at = datetime.fromisoformat(value)
                return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
            if isinstance(value, (int, float)) and 1e8 < value < 1e14:
                seconds = value if value < 1e11 else value / 1000
                return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}
