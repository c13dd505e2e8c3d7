"""Reads a model call's input and output as a conversation, in any of the common formats.

This module finds the messages; ``message`` reads each. Unknown parts are returned unchanged as
``rest``, so nothing is lost. Titles, pages and all other readers use the same two functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sessionbat.server.reading.json_values import without_empty
from sessionbat.server.reading.message import (
    Message,
    is_block,
    is_item,
    is_message,
    read_message,
    role_of,
    words_of_user,
)


@dataclass(frozen=True, slots=True)
class Chat:
    """A payload split into its messages, unchanged, and the rest."""

    messages: list[Any]
    rest: Any = None
    #: Whether the messages are several answers to choose from, not one after the other.
    alternatives: bool = False


def read_input(payload: Any) -> Chat:
    """Read a model call's input; without messages, the whole payload is ``rest``."""
    found = _find(payload, _ASKED_KEYS)
    if found is None:
        return Chat([], payload or None if isinstance(payload, dict) else _unread(payload))
    messages, path = found
    if not path:
        return Chat(messages)
    rest = _rest(payload, path)
    for keys, role in ((_HISTORY_KEYS, None), (_INSTRUCTION_KEYS, "system")):
        for key in keys:
            before = _as_messages(rest.get(key))
            if before:
                messages = [*(_as_role(before, role) if role else before), *messages]
                rest.pop(key)
                break
    return Chat(messages, rest or None)


def read_output(payload: Any) -> Chat:
    """Read a model call's output; without messages, the whole payload is ``rest``."""
    found = _find(payload, _ANSWERED_KEYS)
    if found is None:
        return Chat([], payload or None if isinstance(payload, dict) else _unread(payload))
    messages, path = found
    rest = _rest(payload, path) if path else None
    return Chat(messages, rest or None, bool(path) and path[-1] in _ALTERNATIVES)


def first_words_of_user(payload: Any) -> str:
    """Find the user's first words in a model call's input; empty when there are none."""
    found = _find(payload, _ASKED_KEYS)
    if found is None:
        return ""
    messages, path = found
    for key in _HISTORY_KEYS if path else ():
        if key in payload:
            messages = [*_as_messages(payload[key]), *messages]
    return next(filter(None, map(_words_of_user, messages)), "")


def last_words_of_user(chat: Chat) -> str:
    """Find the user's last words in a model call's input; empty when there are none."""
    return next(filter(None, map(_words_of_user, reversed(chat.messages))), "")


def answer_of(chat: Chat) -> Message | None:
    """Read the model's answer; None when there is none.

    The first of several alternatives counts. An answer of the Responses API consists of all its
    items: the words of its messages and its tool calls.
    """
    if not chat.messages:
        return None
    if chat.alternatives:
        return read_message(chat.messages[0], "assistant")
    first = len(chat.messages) - 1
    while (
        first
        and _is_answers_item(chat.messages[first])
        and _is_answers_item(chat.messages[first - 1])
    ):
        first -= 1
    answers = [read_message(raw, "assistant") for raw in chat.messages[first:]]
    if len(answers) == 1:
        return None if answers[0].role == "user" else answers[0]
    return Message("assistant", "", tuple(part for each in answers for part in each.parts))


_ASKED_KEYS: Final = (
    *("messages", "prompt", "input", "contents", "prompts", "question", "query", "message"),
    *("text", "content", "inputText", "inputs", "user_input"),
)
_ANSWERED_KEYS: Final = (
    *("message", "messages", "output", "choices", "candidates", "generations", "content", "text"),
    *("output_text", "response", "completion", "generation", "generated_text", "outputText"),
    *("results", "answer", "result", "outputs", "reply"),
)
_ALTERNATIVES: Final = frozenset({"choices", "candidates", "generations"})
_HISTORY_KEYS: Final = ("chat_history", "history")
_INSTRUCTION_KEYS: Final = (
    *("system", "instructions", "system_instruction", "systemInstruction", "preamble"),
)
_DEEPEST: Final = 3

_Found = tuple[list[Any], tuple[str, ...]]


def _find(payload: Any, keys: Sequence[str], depth: int = 0) -> _Found | None:
    """Find the messages in a payload, and the path of keys to them."""
    if not isinstance(payload, dict):
        messages = _as_messages(payload)
        return (messages, ()) if messages else None
    if not depth and _is_whole(payload):
        return [payload], ()
    for key in keys:
        value = payload.get(key)
        if not value:
            continue
        messages = _as_messages(value, are_alternatives=key in _ALTERNATIVES)
        if messages:
            return messages, (key,)
        if isinstance(value, dict) and depth < _DEEPEST:
            found = _find(value, keys, depth + 1)
            if found is not None:
                return found[0], (key, *found[1])
    kwargs = payload.get("kwargs") if "lc" in payload else None
    if isinstance(kwargs, dict) and depth < _DEEPEST:  # a dumped prompt or result of LangChain
        found = _find(kwargs, keys, depth + 1)
        return None if found is None else (found[0], ("kwargs", *found[1]))
    return None


def _is_whole(payload: dict[str, Any]) -> bool:
    """Whether a payload is itself a message, rather than a container of one."""
    if isinstance(payload.get("role"), str):
        return any(payload.get(key) is not None for key in _SAID)
    if payload.get("tool_calls") or payload.get("toolCalls"):
        return True
    if "message" in payload or "messages" in payload:
        return False
    return is_message(payload) and role_of(payload, "") != ""  # a dump, which names its class


_SAID: Final = ("content", "parts", "text", "tool_calls", "toolCalls", "function_call", "refusal")


def _as_messages(value: Any, *, are_alternatives: bool = False, depth: int = 0) -> list[Any]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        return [value] if is_message(value) else []
    if not isinstance(value, list) or not value:
        return []
    if isinstance(value[0], list):
        return _of_lists(value, are_alternatives, depth)
    if not are_alternatives and _are_blocks(value):
        return [{"content": value}]
    # The ends tell; a conversation of hundreds is not inspected message by message.
    ends = (value[0], value[-1])
    if all(isinstance(end, str) or is_message(end) for end in ends):
        return value if _DICT_OR_TEXT.issuperset(map(type, value)) else []
    return []


_DICT_OR_TEXT: Final = {dict, str}


def _of_lists(value: list[Any], are_alternatives: bool, depth: int) -> list[Any]:
    """Read lists of role and text, or a batch of conversations."""
    if not all(isinstance(each, list) for each in value):
        return []
    if all(len(each) == 2 and _names_a_role(each[0]) for each in value):
        return [{"role": role, "content": content} for role, content in value]
    if depth >= _DEEPEST:
        return []
    flat = [message for each in value for message in each]
    return _as_messages(flat, are_alternatives=are_alternatives, depth=depth + 1)


def _names_a_role(value: Any) -> bool:
    return isinstance(value, str) and role_of({"type": value}, "") != ""


def _are_blocks(values: list[Any]) -> bool:
    if not isinstance(values[0], dict) or "role" in values[0]:
        return False  # nearly always
    return any(map(is_block, values)) and not any(
        not isinstance(v, dict) or "role" in v or is_item(v) for v in values
    )


def _as_role(messages: list[Any], role: str) -> list[Any]:
    return [
        {"role": role, "content": raw} if isinstance(raw, str) else {"role": role, **raw}
        for raw in messages
    ]


def _rest(payload: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Return a payload without the part at a path."""
    rest = without_empty(payload, path[0])
    if len(path) > 1:
        inner = _rest(payload[path[0]], path[1:])
        if inner:
            rest[path[0]] = inner
    return rest


def _unread(payload: Any) -> Any:
    return None if payload in ("", None) else payload


def _words_of_user(raw: Any) -> str:
    words = words_of_user(raw)
    return "" if words.isspace() else words


def _is_answers_item(raw: Any) -> bool:
    return isinstance(raw, dict) and is_item(raw) and role_of(raw, "assistant") == "assistant"
