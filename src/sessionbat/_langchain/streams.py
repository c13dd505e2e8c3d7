"""The pieces of a stream that broke off → the fields of the message as far as it came.

LangChain puts an answer together only where a stream ends or is closed; a model inside a graph that
is cancelled leaves nothing but the pieces that were reported. Called at most once for a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

_APPENDED: Final = {
    "text-delta": "text",
    "reasoning-delta": "reasoning",
    "tool-call-delta": "args",
    "data-delta": "data",
}


class Piece(NamedTuple):
    """One report of a stream: the chunk or event, and its text."""

    chunk: Any
    text: Any


def message_so_far(pieces: Sequence[Piece]) -> Mapping[str, Any]:
    """Put together what had come, as the fields of a message."""
    events = [piece.chunk for piece in pieces if isinstance(piece.chunk, Mapping)]
    if events:
        return _message_of_events(events)
    messages = [_message_in(piece.chunk) for piece in pieces]
    kinds = {type(message) for message in messages}
    if len(kinds) != 1 or None in messages:
        return {"content": text_so_far(pieces)}
    first, *others = messages
    fields: Mapping[str, Any] = vars(first + others if others else first)
    return fields


def text_so_far(pieces: Iterable[Piece]) -> str:
    """Get the text of the pieces alone."""
    return "".join(piece.text for piece in pieces if isinstance(piece.text, str))


def _message_in(chunk: Any) -> Any:
    fields = vars(chunk) if hasattr(chunk, "__dict__") else {}
    message = fields.get("message", chunk)
    return message if hasattr(type(message), "tool_call_chunks") or _is_chunk(message) else None


def _is_chunk(message: Any) -> bool:
    return "tool_call_chunks" in getattr(message, "__dict__", {})


def _message_of_events(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put a version 3 stream together: blocks begin, grow by deltas, and are said whole at last."""
    blocks: dict[Any, dict[str, Any]] = {}
    usage = None
    for event in events:
        content, delta = event.get("content"), event.get("delta")
        if isinstance(content, Mapping):
            blocks[event.get("index")] = dict(content)
        elif isinstance(delta, Mapping):
            _grow(blocks.setdefault(event.get("index"), {}), delta)
        usage = event.get("usage") or usage
    calls = [
        {"id": block.get("id"), "name": block.get("name"), "args": block.get("args")}
        for block in blocks.values()
        if block.get("type") in ("tool_call", "tool_call_chunk")
    ]
    return {"content": [*blocks.values()], "tool_calls": calls, "usage_metadata": usage}


def _grow(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    name = _APPENDED.get(delta.get("type", ""))
    if name is None:
        fields = delta.get("fields")
        block.update(fields if isinstance(fields, Mapping) else {})
        return
    block.setdefault("type", "text" if name == "text" else name)
    block[name] = (block.get(name) or "") + (delta.get(name) or "")
