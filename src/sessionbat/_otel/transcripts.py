"""Tool calls that are known only from the next request: a call and its result in its messages.

Only those since the user last spoke: earlier ones stood in an earlier request already, and an
agent that sends its whole history each time would make a quadratic number of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sessionbat._otel import values
from sessionbat._otel.chat import Message, blocks_of, words_of

#: Of one request.
MAX_PAIRS: Final = 64
_LOOKED_AT: Final = 512

_CALLS: Final = frozenset({"tool_call", "tool_use", "function_call", "tool-call"})
_RESULTS: Final = frozenset(
    {"tool_call_response", "tool_result", "function_call_output", "tool-result"}
)
_CALL_BLOCKS: Final = ("toolUse", "functionCall", "function_call")
_RESULT_BLOCKS: Final = ("toolResult", "functionResponse", "function_response")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model asked for."""

    id: str | None
    name: str | None
    arguments: Any


@dataclass(frozen=True, slots=True)
class Result:
    """Its answer."""

    id: str | None
    name: str | None
    output: Any
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A tool call with its result."""

    call: Call
    result: Result

    def digest(self, spoken: str) -> str:
        """The same for the same pair, in whichever request it stands.

        Args:
            spoken: What the user said last before it.
        """
        call = self.call
        said = (call.arguments, self.result.output)
        return values.digest(call.id or "", call.name or "", *map(values.canonical, said), spoken)


def pairs_in(asked: list[Message]) -> list[Pair]:
    """Find the tool calls since the user last spoke that have a result."""
    open_by_id: dict[str, Call] = {}
    without_id: list[Call] = []
    found: list[Pair] = []
    for message in _since_user_spoke(asked):
        for piece in pieces_of(message):
            if isinstance(piece, Call):
                if piece.id:
                    open_by_id[piece.id] = piece
                else:
                    without_id.append(piece)
            elif (call := _asked_for(piece, open_by_id, without_id)) is not None:
                found.append(Pair(call, piece))
    return found[-MAX_PAIRS:]


def pieces_of(message: Message) -> Iterator[Call | Result]:
    """Give the calls and results in one message, in their order."""
    kind = values.text(message.get("type"))
    if kind in _CALLS:
        yield _call(message)
    elif kind in _RESULTS:
        yield _result(message)
    elif values.text(message.get("role")) == "tool" and not _holds_pieces(message):
        content = message.get("content", message.get("parts"))
        yield Result(_id(message), values.name(message.get("name")), _joined(content))
    for call in _listed(message.get("tool_calls")):
        yield _call(call)
    for block in blocks_of(message)[:_LOOKED_AT]:
        if isinstance(block, dict):
            yield from _of_block(block)


def _since_user_spoke(asked: list[Message]) -> list[Message]:
    recent = asked[-_LOOKED_AT:]
    for place in range(len(recent) - 1, -1, -1):
        message = recent[place]
        if values.text(message.get("role")) == "user" and words_of(message).strip():
            return recent[place + 1 :]
    return recent


def _asked_for(result: Result, open_by_id: dict[str, Call], without_id: list[Call]) -> Call | None:
    if result.id:
        return open_by_id.pop(result.id, None)
    for place, call in enumerate(without_id):
        if result.name is None or call.name == result.name:
            return without_id.pop(place)
    return None


_PIECES: Final = _CALLS | _RESULTS
_PIECE_BLOCKS: Final = frozenset((*_RESULT_BLOCKS, *_CALL_BLOCKS))


def _of_block(block: Mapping[str, Any]) -> Iterator[Call | Result]:
    kind = values.text(block.get("type"))
    if kind in _CALLS:
        yield _call(block)
    elif kind in _RESULTS:
        yield _result(block)
    if _PIECE_BLOCKS.isdisjoint(block):
        return
    for key in _CALL_BLOCKS:
        if isinstance(block.get(key), dict):
            yield _call(block[key])
    for key in _RESULT_BLOCKS:
        if isinstance(block.get(key), dict):
            yield _result(block[key])


def _holds_pieces(message: Message) -> bool:
    return any(
        isinstance(block, dict)
        and (values.text(block.get("type")) in _PIECES or not _PIECE_BLOCKS.isdisjoint(block))
        for block in blocks_of(message)[:_LOOKED_AT]
    )


def _call(raw: Any) -> Call:
    function = values.dig(raw, "function")
    source = function if isinstance(function, dict) else raw
    keys = ("arguments", "args", "input")
    said = source if isinstance(source, dict) else {}
    arguments = next((said[k] for k in keys if said.get(k) is not None), None)
    name = values.name(said.get("name")) or values.name(said.get("toolName"))
    return Call(_id(raw) or _id(source), name, values.decoded(arguments))


def _result(raw: Mapping[str, Any]) -> Result:
    keys = ("result", "response", "output", "content")
    output = next((raw[key] for key in keys if raw.get(key) is not None), None)
    if isinstance(output, dict) and set(output) == {"type", "value"}:
        output = output["value"]
    is_error = raw.get("is_error") is True or values.text(raw.get("status")) == "error"
    id_ = _first_name(raw, _RESULT_IDS)
    said = values.name(raw.get("name")) or values.name(raw.get("toolName"))
    return Result(id_, said, _joined(output), is_error)


_RESULT_IDS: Final = ("tool_use_id", "tool_call_id", "call_id", "toolUseId", "toolCallId", "id")


def _id(raw: Any) -> str | None:
    if not isinstance(raw, dict):
        return None
    return _first_name(raw, _RESULT_IDS if raw.get("role") == "tool" else _IDS_OF_CALLS)


def _first_name(raw: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = raw.get(key)
        if value is not None and (found := values.name(value)) is not None:
            return found
    return None


#: The Responses API has an id of the item beside that of the call.
_IDS_OF_CALLS: Final = ("call_id", "toolUseId", "toolCallId", "tool_call_id", "id")


def _listed(value: Any) -> list[Any]:
    value = values.decoded(value)
    return list(value[:_LOOKED_AT]) if isinstance(value, list | tuple) else []


def _joined(content: Any) -> Any:
    """Give a result that is one block of text as that text, and JSON in it decoded."""
    if isinstance(content, list | tuple) and len(content) == 1:
        block = content[0]
        words = values.dig(block, "text")
        words = words if words is not None else values.dig(block, "content")
        if isinstance(words, str):
            content = words
        elif isinstance(values.dig(block, "json"), dict | list):
            content = block["json"]
    return values.decoded(content)
