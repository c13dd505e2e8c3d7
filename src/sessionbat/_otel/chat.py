"""One message, and lists of them, out of the forms that instrumentation sends.

Messages stay in the form they came in where the server's reader knows it (chat completions, OTel
parts, Anthropic and Bedrock blocks, Gemini parts, items of the Responses API); flattened ones and
dumps of libraries become chat completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.attributes import in_order

Message = dict[str, Any]

MAX_MESSAGES: Final = 5_000
_MAX_NESTING: Final = 4

_ROLES: Final = {
    **dict.fromkeys(("human", "humanmessage", "humanmessagechunk"), "user"),
    **dict.fromkeys(("ai", "aimessage", "aimessagechunk", "model", "tool-call"), "assistant"),
    **dict.fromkeys(("systemmessage", "systemmessagechunk"), "system"),
    **dict.fromkeys(("toolmessage", "toolmessagechunk", "function", "tool-response"), "tool"),
    "functionmessage": "tool",
}
#: Of a LangChain message, in the order of chat completions.
_DUMPED: Final = ("name", "tool_call_id")
_LISTS: Final = ("messages", "contents", "input", "prompt", "history")
_SAID: Final = (
    *("content", "contents", "parts", "tool_calls", "function_call", "text", "refusal", "blocks"),
    *("toolCalls", "reasoning"),
)
_ANSWER_LISTS: Final = ("choices", "candidates", "generations", "replies", "outputs")


def messages_in(value: Any, default_role: str = "user", depth: int = 0) -> list[Message] | None:
    """Find the messages in a payload; None where there are none."""
    value = values.decoded(value)
    if depth > _MAX_NESTING or not value:
        return None
    if isinstance(value, dict):
        if _is_message(value):
            return [as_message(value, default_role)]
        for key in _LISTS:
            inner = value.get(key)
            if isinstance(inner, list | tuple):
                return messages_in(inner, default_role, depth + 1)
        kwargs = value.get("kwargs")
        return messages_in(kwargs, default_role, depth + 1) if "lc" in value else None
    if not isinstance(value, list | tuple):
        return None
    if all(isinstance(each, list | tuple) for each in value):
        value = [each for inner in value for each in inner]
    if not value or not all(isinstance(each, dict) for each in value) or not _is_message(value[0]):
        return None
    return [as_message(each, default_role) for each in value[-MAX_MESSAGES:]]


def answers_in(value: Any, depth: int = 0) -> list[Message] | None:
    """Find a model's answer in a payload, whichever provider's; None where there is none."""
    value = values.decoded(value)
    if depth > _MAX_NESTING or not value:
        return None
    if isinstance(value, dict):
        if "parts" in values.mapping(value.get("content")):
            return [as_message(value["content"], "assistant")]  # Gemini
        for key in _ANSWER_LISTS:
            inner = value.get(key)
            if isinstance(inner, list | tuple) and inner:
                return _answers_of(inner, depth)
        for key in ("message", "response", "output"):
            found = answers_in(value.get(key), depth + 1) if key in value else None
            if found and not _is_message(value):
                return found
        text = value.get("text")
        if isinstance(text, str) and text and not _is_message(value):
            return [{"role": "assistant", "content": text}]
    if isinstance(value, list | tuple) and isinstance(values.dig(value, 0, "message"), dict):
        return _answers_of(value, depth)
    found = messages_in(value, "assistant", depth)
    return [each for each in found if says_anything(each)] or None if found else None


def as_message(raw: Any, default_role: str = "user") -> Message:
    """Write one message with its role; dumps of LangChain become chat completions."""
    if not isinstance(raw, dict):
        return {"role": default_role, "content": raw}
    if raw.get("role") in _PLAIN_ROLES and raw.keys() <= _USUAL and None not in raw.values():
        return dict(raw)  # nearly always
    raw = _opened(raw)
    kind = values.text(raw.get("type")).lower()
    if _is_dump(raw, kind):
        return _of_langchain(raw, kind)
    made = {str(key): value for key, value in raw.items() if value is not None}
    role = values.text(raw.get("role"))
    spelt = role.rpartition(".")[2].lower().replace("_", "-")
    if role:
        made["role"] = _ROLES.get(spelt, spelt if spelt in _PLAIN_ROLES else role)
    elif not kind.endswith(("_call", "_call_output", "reasoning")):
        made["role"] = default_role
    return made


def from_tree(tree: Any, default_role: str) -> Message:
    """Write one flattened message (``message.role``, ``message.content``) as chat completions."""
    inner = values.dig(tree, "message")
    tree = inner if isinstance(inner, dict) else tree
    if not isinstance(tree, dict):
        return {"role": default_role, "content": tree}
    role = values.text(tree.get("role")) or default_role
    made: Message = as_message({"role": role})
    content = _content_of_tree(tree)
    if content not in (None, "", []):
        made["content"] = content
    calls = [call for each in in_order(tree.get("tool_calls")) if (call := _call_of_tree(each))]
    function = tree.get("function_call")
    if not calls and isinstance(function, dict):
        calls = [call] if (call := _call_of_tree(function)) else []
    if not calls and values.text(tree.get("function_call_name")):
        calls = [_call(None, tree["function_call_name"], tree.get("function_call_arguments_json"))]
    if calls:
        made["tool_calls"] = calls
    for key in ("tool_call_id", "name"):
        if values.text(tree.get(key)):
            made[key] = values.text(tree[key])
    return made


def says_anything(message: Mapping[str, Any]) -> bool:
    """Whether a message holds words, calls, results or anything but its role."""
    kind = values.text(message.get("type"))
    if kind.endswith(("_call", "_call_output")):
        return True
    return any(message.get(key) not in (None, "", [], {}) for key in _SAID)


def words_of(message: Mapping[str, Any]) -> str:
    """Give the words in a message, without calls, results and reasoning."""
    content, words = message.get("content"), list[str]()
    if isinstance(content, str):
        words.append(content)
    for block in blocks_of(message)[:MAX_MESSAGES]:
        if isinstance(block, dict):
            if values.text(block.get("type")) in _TEXT_TYPES:
                said = block.get("text", block.get("content"))
                if isinstance(said, str) and block.get("thought") is not True:
                    words.append(said)
        elif isinstance(block, str):
            words.append(block)
    return words[0] if len(words) == 1 else "\n".join(words)


def blocks_of(message: Mapping[str, Any]) -> Sequence[Any]:
    """Give the blocks or parts of a message."""
    for key in ("parts", "content", "contents"):
        inner = message.get(key)
        if isinstance(inner, list | tuple):
            return inner
    return ()


_PLAIN_ROLES: Final = frozenset({"system", "user", "assistant", "tool", "developer"})
#: Keys of a message of a library that wraps it in nothing.
_USUAL: Final = frozenset(
    {"role", "parts", "content", "finish_reason", "tool_calls", "tool_call_id", "name"}
)
_TEXT_TYPES: Final = frozenset({"", "text", "input_text", "output_text"})


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("role"), str):
        return True
    if "lc" in value and "kwargs" in value:
        return _names_a_message(value)
    kind = values.text(value.get("type")).lower()
    if kind in _ROLES or kind in _PLAIN_ROLES or kind.endswith(("_call", "_call_output")):
        return True
    return kind in ("message", "reasoning")


def _is_dump(raw: Mapping[str, Any], kind: str) -> bool:
    """Whether a message is one of LangChain, which names its class or type instead of a role."""
    if isinstance(raw.get("id"), list) or kind in _ROLES:
        return True
    return kind in _PLAIN_ROLES and "role" not in raw


def _names_a_message(value: Mapping[str, Any]) -> bool:
    place = value.get("id")
    return isinstance(place, list) and bool(place) and values.text(place[-1]).lower() in _ROLES


def _opened(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take a message out of what wraps it: a dump of LangChain, a choice."""
    kwargs, data, message = raw.get("kwargs"), raw.get("data"), raw.get("message")
    if "lc" in raw and isinstance(kwargs, dict):
        place = raw.get("id")
        last = values.text(place[-1]) if isinstance(place, list) and place else ""
        return {"type": last.lower(), **kwargs}
    if isinstance(data, dict) and values.text(raw.get("type")).lower() in _LANGCHAIN:
        return {"type": raw["type"], **data}
    if isinstance(message, dict) and "role" not in raw:
        return _opened(message) if "lc" in message else message
    return raw


_LANGCHAIN: Final = frozenset(_ROLES) | _PLAIN_ROLES


def _of_langchain(raw: Mapping[str, Any], kind: str) -> Message:
    made: Message = {"role": _ROLES.get(kind, kind if kind in _PLAIN_ROLES else "assistant")}
    if raw.get("content") not in (None, ""):
        made["content"] = raw["content"]
    calls = raw.get("tool_calls")
    if isinstance(calls, list) and calls:
        made["tool_calls"] = [
            _call(values.dig(each, "id"), values.dig(each, "name"), values.dig(each, "args"))
            for each in calls
        ]
    for key in _DUMPED:
        if raw.get(key):
            made[key] = raw[key]
    return made


def _answers_of(choices: Sequence[Any], depth: int) -> list[Message] | None:
    found: list[Message] = []
    for each in choices[:16]:
        if isinstance(each, list | tuple):
            found += _answers_of(each, depth + 1) or [] if depth < _MAX_NESTING else []
        elif isinstance(each, str):
            found.append({"role": "assistant", "content": each})
        elif isinstance(each, dict):
            found.append(_answer_of(each))
    return [each for each in found if says_anything(each)] or None


def _answer_of(choice: Mapping[str, Any]) -> Message:
    """Write a choice, a candidate or a generation as the message in it."""
    message = choice.get("message")
    if message is None and "parts" in values.mapping(choice.get("content")):
        message = choice["content"]  # Gemini
    whole = as_message(choice if message is None else message, "assistant")
    if not says_anything(whole) and values.text(choice.get("text")):
        return {"role": "assistant", "content": choice["text"]}
    return whole


def _content_of_tree(tree: Mapping[str, Any]) -> Any:
    contents = in_order(tree.get("contents"))
    content = tree.get("content")
    if isinstance(content, dict):  # message.content.0, one each
        words = [each for each in in_order(content) if isinstance(each, str)]
        content = "\n\n".join(words) or content.get("")
    if not contents or (isinstance(content, str) and content):
        return content
    blocks = [block for each in contents if set(block := _block_of_tree(each)) - {"type"}]
    only = blocks[0] if len(blocks) == 1 else {}
    return only["text"] if set(only) == {"type", "text"} else blocks


def _block_of_tree(tree: Any) -> dict[str, Any]:
    inner = values.dig(tree, "message_content")
    inner = inner if isinstance(inner, dict) else {}
    url = values.dig(inner, "image", "image", "url")
    if url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    if inner.get("text") is not None:
        return {"type": "text", "text": inner["text"]}
    return dict(inner)


def _call_of_tree(tree: Any) -> dict[str, Any] | None:
    inner = values.dig(tree, "tool_call")
    tree = inner if isinstance(inner, dict) else tree
    function = values.dig(tree, "function")
    source = function if isinstance(function, dict) else tree
    if not isinstance(source, dict) or not values.text(source.get("name")):
        return None
    return _call(values.dig(tree, "id"), source["name"], source.get("arguments"))


def _call(id_: Any, name: Any, arguments: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "function"}
    if values.text(id_):
        made["id"] = values.text(id_)
    given = {} if arguments is None else arguments
    made["function"] = {"name": values.text(name), "arguments": given}
    return made
