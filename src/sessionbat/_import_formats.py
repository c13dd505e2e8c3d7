"""What a line of a file to import may be: an exported event, or one session's chat transcript.

Pure functions that ``importing`` calls: bytes in, an event or the steps of a transcript out.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, NoReturn

from sessionbat.event import LLM, TOOL, EncodedEvent, find_problem

Form = Literal["events", "chat"]
Json = dict[str, Any]


class BadLine(ValueError):
    """Why a line cannot be imported, in words that hold nothing of its content."""


def parse_object(data: bytes) -> Json:
    """Decode a line that should hold one JSON object.

    Raises:
        BadLine: It holds something else.
    """
    try:
        value = _loads(data.decode())
    except UnicodeDecodeError as exc:
        raise BadLine(f"not UTF-8: byte {exc.start + 1} cannot be decoded") from exc
    except RecursionError as exc:
        raise BadLine("nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise BadLine(f"not JSON: {exc.msg} (column {exc.colno})") from exc
    except ValueError as exc:  # NaN, or an integer of more digits than Python reads
        raise BadLine("not JSON: holds a number that JSON cannot write") from exc
    if not isinstance(value, dict):
        raise BadLine("not a JSON object")
    return value


def tell_form(line: Json) -> Form | None:
    """Tell what a line holds by the one key that each form must have; None when it has neither."""
    if "observation" in line:
        return "events"
    return "chat" if "messages" in line else None


def parse_event(line: Json, data: bytes, app: str | None) -> EncodedEvent:
    """Make an exported event an event again: the very bytes, unless it moves to another app.

    Raises:
        BadLine: It is no event, or holds what no endpoint could read.
    """
    event = line if app is None else line | {"app": app}
    problem = find_problem(event)
    if problem is not None:
        raise BadLine(f"{problem.at}: {problem.message}" if problem.at else problem.message)
    # Also where the bytes stay as they are: a lone surrogate or 1e999 must not leave the process.
    encoded = _encode(event, ascii_only=False)
    return EncodedEvent(event["id"], data if app is None else encoded)


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
    metadata: Json
    #: About as many bytes as it will have.
    size: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation in chat-completions form, checked and ready to be recorded."""

    session_id: str
    #: Whatever the line says beside its messages: it is about the session as a whole.
    context: Json
    model: str | None
    messages: list[Json]
    #: Each message as canonical JSON, which is what ids are made of.
    encoded: list[bytes]

    def steps(self) -> Iterator[Step]:
        """Tell what the agent did, in order: each model call, then the tools that it called for.

        An id stands for the session and all that was said up to and including its own content, so
        a transcript that has grown since keeps the ids of what was there before.
        """
        results = _Results(self.messages)
        history = blake2b(self.session_id.encode(errors="backslashreplace"), digest_size=16)
        size, turn = len(_encode(self.context)), 0
        for index, message in enumerate(self.messages):
            turn += self._starts_turn(index)
            history.update(b"\n" + self.encoded[index])
            size += len(self.encoded[index])
            if message["role"] != "assistant":
                continue
            model = _text(message.get("model")) or self.model
            yield Step(
                kind="llm",
                id=_step_id(history, LLM, (model or "").encode(errors="backslashreplace")),
                turn=turn,
                name=model,
                input={"messages": self.messages[:index]},
                output=message,
                metadata={},
                size=size,
            )
            for place, call in enumerate(message.get("tool_calls") or ()):
                result = results.take(call, after=index)
                answer = b"" if result is None else self.encoded[result]
                yield Step(
                    kind="tool",
                    id=_step_id(history, TOOL, b"%d\n" % place + answer),
                    turn=turn,
                    name=call["function"]["name"],
                    input=_decoded(call["function"].get("arguments")),
                    output=None if result is None else _output(self.messages[result]),
                    metadata=_call_metadata(call, answered=result is not None),
                    size=len(self.encoded[index]) + len(answer),
                )

    def _starts_turn(self, index: int) -> bool:
        """Whether the user speaks here, and did not just before."""
        if self.messages[index]["role"] != "user":
            return False
        return index == 0 or self.messages[index - 1]["role"] != "user"


def parse_transcript(line: Json) -> Transcript:
    """Check a line that should hold one session's messages.

    Raises:
        BadLine: Something that is needed to record it is missing; says what, and where.
    """
    messages = line.get("messages")
    if not isinstance(messages, list):
        raise BadLine("messages must be an array" if "messages" in line else "messages is missing")
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    return Transcript(
        session_id=_session_id(line),
        context={k: v for k, v in line.items() if k not in ("session_id", "messages", "model")},
        model=_text(line.get("model")),
        messages=messages,
        encoded=[_encode(message) for message in messages],
    )


def _session_id(line: Json) -> str:
    session_id = line.get("session_id")
    if isinstance(session_id, int) and not isinstance(session_id, bool):
        return str(session_id)
    if not isinstance(session_id, str) or not session_id:
        raise BadLine("session_id is missing; every transcript names its session")
    return session_id


def _check_message(at: str, message: object) -> None:
    if not isinstance(message, dict):
        raise BadLine(f"{at} is not an object")
    if not _text(message.get("role")):
        raise BadLine(f"{at}.role is missing")
    calls = message.get("tool_calls")
    if not isinstance(calls, list | None):
        raise BadLine(f"{at}.tool_calls must be an array")
    for place, call in enumerate(calls or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not _text(function.get("name")):
            raise BadLine(f"{at}.tool_calls[{place}].function.name is missing")


class _Results:
    """Finds the result of each tool call, even where an agent reuses the ids of its calls."""

    def __init__(self, messages: list[Json]) -> None:
        self._waiting: dict[str | None, deque[int]] = defaultdict(deque)
        for index, message in enumerate(messages):
            if message["role"] == "tool":
                self._waiting[_text(message.get("tool_call_id"))].append(index)

    def take(self, call: Json, *, after: int) -> int | None:
        """Give the index of the first result of this call behind its message, once."""
        waiting = self._waiting[_text(call.get("id"))]
        while waiting and waiting[0] < after:
            waiting.popleft()
        return waiting.popleft() if waiting else None


def _output(message: Json) -> Any:
    """Give a tool's result: an object or array if its text is one, else the text as it stands.

    A bare number stays text, since decoding might change its digits.
    """
    content = message.get("content")
    if isinstance(content, str) and content.lstrip()[:1] in ("{", "["):
        return _decoded(content)
    return content


def _call_metadata(call: Json, *, answered: bool) -> Json:
    metadata = {} if call.get("id") is None else {"tool_call_id": call["id"]}
    # Not an error: the transcript does not say that the tool failed, only that it ends here.
    return metadata if answered else metadata | {"status": "unanswered"}


def _step_id(history: blake2b, kind: str, content: bytes) -> str:
    digest = history.copy()
    digest.update(f"\n{kind}\n".encode() + content)
    return digest.hexdigest()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _decoded(value: object) -> Any:
    """Decode JSON that came as text; anything else, and what is no JSON, is given back."""
    if not isinstance(value, str):
        return value
    try:
        return _loads(value)
    except (ValueError, RecursionError):
        return value


def _encode(value: object, *, ascii_only: bool = True) -> bytes:
    """Encode as canonical JSON, or raise BadLine where JSON has no way to write it."""
    try:
        return json.dumps(
            value,
            ensure_ascii=ascii_only,
            allow_nan=False,
            separators=(",", ":"),
            sort_keys=ascii_only,
        ).encode()
    except UnicodeEncodeError as exc:
        raise BadLine("holds half a character: a lone surrogate") from exc
    except ValueError as exc:
        raise BadLine("holds a number that JSON cannot write") from exc
    except RecursionError as exc:
        raise BadLine("nested too deeply") from exc


def _loads(text: str) -> Any:
    """Decode JSON as RFC 8259 has it: Python alone would take NaN for a number."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)
