"""One session's messages → the steps of its agent: each model call, each tool that it called.

Pure functions: a record in, steps out, each with an id made of what was said up to it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from sessionbat._importing.bad import BadLine
from sessionbat._importing.json_values import Json, encode, text
from sessionbat._importing.messages import (
    Said,
    ToolCall,
    ToolResult,
    error_of,
    looks_like_message,
    read_said,
)
from sessionbat.event import LLM, TOOL


class Step(NamedTuple):
    """One observation of a transcript."""

    kind: Literal["llm", "tool"]
    id: str
    #: The user's turn that it belongs to, counted from 1; 0 before the user said anything.
    turn: int
    #: The tool; or the model, None where the transcript names none.
    name: str | None
    input: Any
    output: Any
    error: Any
    metadata: Json
    metrics: dict[str, float]
    #: When it was said. Where the message says nothing of it, ``metadata.times`` is ``unknown``
    #: and this is at best the time of a message before it.
    at: datetime | None
    #: About as many bytes as it will have.
    size: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation, checked and ready to be recorded."""

    session_id: str
    #: Whatever the record says beside its messages: it is about the session as a whole.
    context: Json
    model: str | None
    #: What each model call was given beside the messages: instructions and tools.
    given: Json
    messages: list[Said]
    #: Each message as canonical JSON, which is what ids are made of.
    encoded: list[bytes]

    def steps(self) -> Iterator[Step]:
        """Tell what the agent did, in order: each model call, then the tools that it called for.

        An id stands for the session and all that was said up to and including its own content, so
        a transcript that has grown since keeps the ids of what was there before.
        """
        results, times = _Results(self.messages), _Times()
        history = blake2b(self.session_id.encode(errors="backslashreplace"), digest_size=16)
        before: list[Json] = []
        size, turn = len(encode(self.context)) + len(encode(self.given)), 0
        for index, message in enumerate(self.messages):
            turn += self._starts_turn(index)
            history.update(b"\n" + self.encoded[index])
            size += len(self.encoded[index])
            times.pass_by(message)
            if message.role == "assistant":
                yield self._model_call(index, before, history, turn, times, size)
                for place, call in enumerate(message.calls):
                    yield self._tool_call(index, place, call, results, history, turn, times)
            before.extend(message.raw)

    def _model_call(
        self, index: int, before: list[Json], history: blake2b, turn: int, times: _Times, size: int
    ) -> Step:
        message = self.messages[index]
        model = message.model or self.model
        at, metadata = times.of(message)
        return Step(
            kind="llm",
            id=_step_id(history, LLM, (model or "").encode(errors="backslashreplace")),
            turn=turn,
            name=model,
            input={**self.given, "messages": [*before]},
            output=message.raw[0] if len(message.raw) == 1 else {"output": message.raw},
            error={"type": "Error", "message": ""} if message.error is True else message.error,
            metadata=metadata,
            metrics=message.metrics,
            at=at,
            size=size,
        )

    def _tool_call(
        self,
        index: int,
        place: int,
        call: ToolCall,
        results: _Results,
        history: blake2b,
        turn: int,
        times: _Times,
    ) -> Step:
        found = results.take(call, after=index)
        answer = b"" if found is None else self.encoded[found[0]]
        at, metadata = times.of(None if found is None else self.messages[found[0]])
        if call.id is not None:
            metadata["tool_call_id"] = call.id
        if found is None:
            # Not an error: the transcript does not say that the tool failed, only that it ends.
            metadata["status"] = "unanswered"
        return Step(
            kind="tool",
            id=_step_id(history, TOOL, b"%d\n" % place + answer),
            turn=turn,
            name=call.name,
            input=call.arguments,
            output=None if found is None else found[1].output,
            error=None if found is None else error_of(found[1]),
            metadata=metadata,
            metrics={},
            at=at,
            size=len(self.encoded[index]) + len(answer),
        )

    def _starts_turn(self, index: int) -> bool:
        """Whether the user speaks here, and did not just before."""
        if self.messages[index].role != "user":
            return False
        return index == 0 or self.messages[index - 1].role != "user"


def parse_transcript(record: Json | list[Any]) -> Transcript:
    """Check a record that should hold one session's messages.

    Raises:
        BadLine: Something that is needed to record it is missing; says what, and where.
    """
    line = {"messages": record} if isinstance(record, list) else record
    key, raw, answer_key = _find_messages(line)
    messages = _grouped(read_said(message, f"{key}[{n}]") for n, message in enumerate(raw))
    encoded = [b"\n".join(map(encode, message.raw)) for message in messages]
    given = {k: line[k] for k in _GIVEN if line.get(k)}
    id_key, session_id = _session_id(line, encoded)
    apart = {key, answer_key, "model", "session_id", id_key, *given}
    return Transcript(
        session_id=session_id,
        context={k: v for k, v in line.items() if k not in apart},
        model=text(line.get("model")) or text(line.get("modelId")),
        given=given,
        messages=messages,
        encoded=encoded,
    )


def holds_messages(record: object) -> bool:
    """Whether a record is one session's messages, rather than many sessions or something else."""
    if isinstance(record, list):
        return bool(record) and looks_like_message(record[0])
    if not isinstance(record, dict):
        return False
    return any(
        key in record and (key not in _DOUBTFUL or _holds_messages_at(record, key))
        for key in _MESSAGE_KEYS
    )


def sessions_within(record: Any) -> list[Any] | None:
    """Give the records that a record wraps, as some exports do: ``{"sessions": [...]}``."""
    for key in _WRAPPERS:
        inner = record.get(key)
        if (
            isinstance(inner, list)
            and inner
            and all(isinstance(one, (dict, list)) for one in inner)
        ):
            return inner
    return None


_MESSAGE_KEYS: Final = ("messages", "contents", "conversations", "conversation", "input", "items")
#: These may as well hold something else than messages.
_DOUBTFUL: Final = ("conversations", "items", "input")
_WRAPPERS: Final = ("sessions", "conversations", "transcripts", "items", "events", "data")
_GIVEN: Final = (
    *("system", "instructions", "system_instruction", "systemInstruction"),
    *("tools", "functions", "toolConfig"),
)
_ID_KEYS: Final = (
    *("session_id", "sessionId", "thread_id", "threadId", "conversation_id", "conversationId"),
    *("chat_id", "id", "uuid"),
)


def _holds_messages_at(record: Json, key: str) -> bool:
    value = record.get(key)
    if key == "input" and isinstance(value, str):
        return bool(value)
    return isinstance(value, list) and bool(value) and looks_like_message(value[0])


def _find_messages(line: Json) -> tuple[str, list[Any], str]:
    """Find the messages, the key that they are at, and the key of an answer beside them."""
    key = next((key for key in _MESSAGE_KEYS if key in line), None)
    if key is None:
        raise BadLine("messages is missing")
    messages = line[key]
    if key == "input" and isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list):
        raise BadLine(f"{key} must be an array")
    for answer_key in ("output", "candidates", "choices"):
        answer = _answer_beside(line.get(answer_key))
        if answer:
            return key, [*messages, *answer], answer_key
    return key, messages, key


def _answer_beside(value: Any) -> list[Any]:
    """Read the answer of a request that is kept beside it, as the APIs give it."""
    if isinstance(value, list) and value and all(map(looks_like_message, value)):
        inner = value[0].get("message")
        return [inner] if isinstance(inner, dict) else value  # of several choices the first
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return []
    message, content = first.get("message"), first.get("content")
    if looks_like_message(message):
        return [message]
    return [{"role": "model", **content}] if isinstance(content, dict) else []


def _grouped(messages: Iterator[Said]) -> list[Said]:
    """Join the items of one answer: reasoning, a search, words and calls in a row."""
    joined: list[Said] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is None or not (_is_answers_item(last) and _is_answers_item(message)):
            joined.append(message)
            continue
        joined[-1] = Said(
            role="assistant",
            raw=last.raw + message.raw,
            calls=last.calls + message.calls,
            model=last.model or message.model,
            at=last.at or message.at,
            error=last.error if last.error is not None else message.error,
            metrics={**last.metrics, **message.metrics},
            is_item=True,
        )
    return joined


def _is_answers_item(message: Said) -> bool:
    return message.is_item and message.role == "assistant"


def _session_id(line: Json, encoded: list[bytes]) -> tuple[str, str]:
    """Find a session's id; without any, one is made of all that is said in it."""
    for key in _ID_KEYS:
        value = line.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return key, str(value)
        if isinstance(value, str) and value:
            return key, value
    if not encoded:
        raise BadLine("session_id is missing, and there is no message to make one of")
    return "session_id", blake2b(b"\n".join(encoded), digest_size=16).hexdigest()


class _Results:
    """Finds the result of each tool call, even where an agent reuses the ids of its calls."""

    def __init__(self, messages: list[Said]) -> None:
        self._waiting: dict[str | None, deque[tuple[int, ToolResult]]] = defaultdict(deque)
        for index, message in enumerate(messages):
            for result in message.results:
                self._waiting[result.call_id or _by_name(result.name)].append((index, result))

    def take(self, call: ToolCall, *, after: int) -> tuple[int, ToolResult] | None:
        """Give the first result of this call behind its message, and its place, once."""
        for key in dict.fromkeys((call.id, _by_name(call.name), None)):
            waiting = self._waiting.get(key)
            while waiting and waiting[0][0] < after:
                waiting.popleft()
            if waiting:
                return waiting.popleft()
        return None


def _by_name(name: str | None) -> str | None:
    return None if name is None else f"name:{name}"


class _Times:
    """Tells when each step was; where nothing says so, that it is unknown."""

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._given: datetime | None = None

    def pass_by(self, message: Said) -> None:
        """Note that the transcript has come to this message."""
        if message.at is not None:
            self._last = message.at if self._last is None else max(self._last, message.at)

    def of(self, message: Said | None) -> tuple[datetime | None, Json]:
        """Give a time in the order of the steps, and the metadata that goes with it."""
        known = None if message is None else message.at
        if known is None:
            at, metadata = self._last, {"times": "unknown"}
        else:
            at, metadata = known, {}
        if at is not None and self._given is not None and at <= self._given:
            at = self._given + timedelta(microseconds=1)  # steps stay in the order of the file
        self._given = at
        return at, metadata


def _step_id(history: blake2b, kind: str, content: bytes) -> str:
    digest = history.copy()
    digest.update(f"\n{kind}\n".encode() + content)
    return digest.hexdigest()
