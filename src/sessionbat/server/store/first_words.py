"""What a session is called: its user's first words, as one line.

Read once from each event on arrival, from whichever of the common shapes a model's input has: plain
text, messages, content blocks. What is none of these names nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sessionbat.event import LLM, RETRIEVAL

MAX_CHARACTERS: Final = 90

#: How well words name a session; of two, the higher counts.
SAID: Final = 2
SEARCHED: Final = 1
NONE: Final = 0
BEST: Final = SAID

_MESSAGE_KEYS: Final = (
    *("messages", "prompt", "input", "contents", "prompts", "question", "query"),
)
_CONTENT_KEYS: Final = ("content", "parts", "text", "output")
_USER: Final = {"user", "human"}


def first_words(observation: Mapping[str, Any]) -> tuple[int, str]:
    """Find what the user said first in a model call, or what a retrieval looked for.

    Returns:
        How well it names the session (``SAID``, ``SEARCHED``, ``NONE``), and the words in one line.
    """
    kind, given = observation["kind"], observation.get("input")
    if kind == LLM:
        for message in _messages(given):
            if words := _words_of_user(message):
                return SAID, words
    elif kind == RETRIEVAL and isinstance(given, dict) and isinstance(given.get("query"), str):
        words = _one_line(given["query"])
        return (SEARCHED, words) if words else (NONE, "")
    return NONE, ""


def _messages(given: Any) -> list[Any]:
    if isinstance(given, dict):
        given = next((given[key] for key in _MESSAGE_KEYS if given.get(key)), None)
    while isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
        given = given[0]  # a batch of one conversation
    if isinstance(given, list):
        return given
    return [given] if given else []


def _words_of_user(message: Any) -> str:
    if isinstance(message, str):
        return _one_line(message)
    if not isinstance(message, dict):
        return ""
    if isinstance(message.get("message"), dict):
        message = message["message"]
    role = message.get("role") or message.get("type")
    if isinstance(role, str) and role.lower() not in _USER and role not in ("text", "message"):
        return ""
    content = next((message[key] for key in _CONTENT_KEYS if message.get(key)), None)
    return _one_line("\n".join(_texts(content)))


def _texts(content: Any) -> Iterator[str]:
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            yield block
        elif isinstance(block, dict) and isinstance(block.get("text"), str):
            yield block["text"]


def _one_line(text: str) -> str:
    line = " ".join(text[: 2 * MAX_CHARACTERS].split())  # nearly always enough
    if len(line) <= MAX_CHARACTERS:
        line = " ".join(text[: 8 * MAX_CHARACTERS].split())
    if len(line) <= MAX_CHARACTERS:
        return line
    line = line[:MAX_CHARACTERS]
    space = line.rfind(" ", MAX_CHARACTERS * 3 // 4)
    return (line if space < 0 else line[:space].rstrip(",:; ")) + "…"
