"""Finds the new messages of a model call: an agent resends its whole conversation each time.

A page shows each message once. ``History`` remembers the messages that earlier calls have shown,
and tells where the new ones of the next call begin.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from sessionbat.server.reading.message import Message, read_message

#: A tool's answer is resent to the model soon afterwards.
_RESULTS_REMEMBERED = 32
#: Agents running side by side take turns in a session, each with a conversation of its own.
_CONVERSATIONS_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Known:
    """The number of leading messages of an input that were shown before, and the event that did."""

    messages: int
    event_id: str


@dataclass(frozen=True, slots=True)
class _Shown:
    event_id: str
    messages: list[Any]
    answer: Message | None


class History:
    """The conversations that a page has shown so far; not thread-safe."""

    def __init__(self) -> None:
        self._shown: deque[_Shown] = deque(maxlen=_CONVERSATIONS_REMEMBERED)
        self._results: deque[tuple[str, Any]] = deque(maxlen=_RESULTS_REMEMBERED)

    def known(self, messages: list[Any]) -> Known | None:
        """Return how many of these messages were shown before; None when none was."""
        best: Known | None = None
        for shown in reversed(self._shown):
            length = _common_length(shown.messages, messages)
            if length == len(shown.messages) and _is_answer(shown.answer, messages[length:]):
                length += 1
            if length and (best is None or length > best.messages):
                best = Known(length, shown.event_id)
            if length >= len(shown.messages):
                break
        return best

    def add(self, event_id: str, messages: list[Any], answer: Message | None) -> None:
        """Remember that an event has shown these messages and this answer."""
        if messages:
            self._shown.append(_Shown(event_id, messages, answer))

    def add_result(self, event_id: str, result: Any) -> None:
        """Remember that an event has shown a tool's answer."""
        if result:
            self._results.append((event_id, result))

    def shown_result(self, result: Any) -> str | None:
        """Return the event that has shown this answer of a tool; None when none has."""
        return next((id_ for id_, shown in reversed(self._results) if _same(shown, result)), None)


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except RecursionError:  # nested beyond what Python compares: then it is shown again
        return False


def _common_length(one: list[Any], other: list[Any]) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if not _same(a, b):
            return index
    return min(len(one), len(other))


def _is_answer(answer: Message | None, following: list[Any]) -> bool:
    if answer is None or not following:
        return False
    message = read_message(following[0], "user")
    return (
        message.role == "assistant"
        and message.words == answer.words
        and message.calls == answer.calls
    )
