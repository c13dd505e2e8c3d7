"""A model call's payload → messages in the form of the GenAI conventions: a role and parts each.

Reads with ``chat`` and ``transcripts``, which know the providers' spellings; a payload that is no
conversation gives none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.chat import Message, answers_in, blocks_of, messages_in
from sessionbat._otel.transcripts import Call, pieces_of

_WORDS: Final = ("prompt", "input", "text", "question")
_TEXTS: Final = frozenset({"", "text", "input_text", "output_text"})
_REASONINGS: Final = frozenset({"reasoning", "thinking"})
_BLOCKS: Final = ("parts", "content", "contents")


def asked_messages(payload: Any) -> list[dict[str, Any]]:
    """Write what a model was asked; empty for a payload that is no conversation."""
    if isinstance(payload, str):
        return [_said("user", payload)] if payload else []
    found = messages_in(payload)
    if found is not None:
        return [_written(message) for message in found]
    words = next((w for key in _WORDS if isinstance(w := values.dig(payload, key), str)), "")
    return [_said("user", words)] if words else []


def system_parts(payload: Any) -> list[dict[str, Any]]:
    """Write the instructions that stand beside the messages, as Anthropic has them."""
    system = values.dig(payload, "system")
    if isinstance(system, str):
        return [_text(system)] if system else []
    return list(_parts({"content": system})) if isinstance(system, list) else []


def answered_messages(payload: Any, finish_reason: str) -> list[dict[str, Any]]:
    """Write what a model answered; empty for a payload that is no conversation."""
    if isinstance(payload, str):
        found = [_said("assistant", payload)] if payload else []
    else:
        found = [_written(message) for message in answers_in(payload) or ()]
    for message in found:
        message.setdefault("finish_reason", finish_reason)
    return found


def _written(message: Message) -> dict[str, Any]:
    made = {"role": values.text(message.get("role")) or "user", "parts": list(_parts(message))}
    for key in ("name", "finish_reason"):
        if isinstance(message.get(key), str):
            made[key] = message[key]
    return made


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    reasoning = message.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        yield {"type": "reasoning", "content": reasoning}
    is_result = values.text(message.get("role")) == "tool"
    if not is_result:
        content = message.get("content")
        if isinstance(content, str) and content:
            yield _text(content)
        for block in blocks_of(message):
            yield from _of_block(block)
        message = {key: value for key, value in message.items() if key not in _BLOCKS}
    for piece in pieces_of(message):
        yield _of_piece(piece)


def _of_block(block: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(block, dict):
        yield _text(values.text(block))
        return
    kind = values.text(block.get("type"))
    said = block.get("text", block.get("content"))
    if kind in _TEXTS and isinstance(said, str):
        yield _text(said) if block.get("thought") is not True else _reasoning(said)
        return
    if kind in _REASONINGS:
        found = (block.get(key) for key in (kind, "content", "text"))
        yield _reasoning(next((words for words in found if isinstance(words, str)), ""))
        return
    pieces = list(pieces_of({"role": "assistant", "content": [block]}))
    if pieces:
        yield from map(_of_piece, pieces)
    else:
        yield {**block, "type": kind or "unknown"}  # a part of any type is allowed


def _of_piece(piece: Any) -> dict[str, Any]:
    if isinstance(piece, Call):
        return {
            "type": "tool_call",
            "id": piece.id,
            "name": piece.name or "",
            "arguments": piece.arguments,
        }
    return {"type": "tool_call_response", "id": piece.id, "response": piece.output}


def _said(role: str, words: str) -> dict[str, Any]:
    return {"role": role, "parts": [_text(words)]}


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "content": words}


def _reasoning(words: str) -> dict[str, Any]:
    return {"type": "reasoning", "content": words}
