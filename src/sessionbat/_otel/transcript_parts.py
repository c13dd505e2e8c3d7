"""Tool calls that stand in a request's messages, as parts of their own.

The same call in a later request of its trace is the same part; ``transcript_tools`` says which of
them become events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sessionbat._otel import names, transcripts, values
from sessionbat._otel.chat import Message, words_of
from sessionbat._otel.content_facts import with_content
from sessionbat._otel.envelopes import envelope_of
from sessionbat._otel.host_metadata import HostMetadata
from sessionbat._otel.model import LogRecord, Scope, SpanKey
from sessionbat._otel.parts import Event, Facts, Part


@dataclass(frozen=True, slots=True)
class Asker:
    """The model call whose request is read."""

    key: SpanKey
    scope: Scope
    host: HostMetadata
    at_ns: int | None

    def tools(self, asked: list[Message], facts: Facts, app: str) -> Sequence[Part]:
        """Give the tool calls in what it was asked, each as a part."""
        pairs = transcripts.pairs_in(asked)
        spoken = _last_words(asked) if pairs else ""
        seen: dict[str, int] = {}
        made = []
        for pair in pairs:
            found = pair.digest(spoken)
            seen[found] = seen.get(found, 0) + 1
            made.append(self._part(facts, pair, f"{found}{'+' * (seen[found] - 1)}", app))
        return made

    def _part(self, facts: Facts, pair: transcripts.Pair, digest: str, app: str) -> Part:
        key = SpanKey(self.key.trace, f"tool-{digest}")
        event = envelope_of("tool", key, self.scope, {}, self.host)
        event["app"] = app
        _fill(event, pair.call, pair.result)
        _say_whence(event, self.key, self.scope)
        own = pair.call.id is not None
        facts = _facts(facts, self.key, self.at_ns)._replace(
            tool=values.name(event["observation"]["name"]),
            call_id=pair.call.id,
            pair=digest if own else values.digest(self.key.trace, digest),
        )
        event = values.plain_event(event)
        return Part(key, with_content(facts, event), event)


def pieces(
    message: Message, said: Event, facts: Facts, key: SpanKey, record: LogRecord
) -> Sequence[Part]:
    """Give the calls and results in one message that came alone; both make a tool call."""
    made = []
    for piece in list(transcripts.pieces_of(message))[: transcripts.MAX_PAIRS]:
        if piece.id is None:
            continue
        own = SpanKey(key.trace, f"tool-call-{values.digest(piece.id)}")
        event = envelope_of("tool", own, record.scope, {}, HostMetadata.nothing())
        event["app"], event["context"] = said["app"], said["context"]
        is_call = isinstance(piece, transcripts.Call)
        _fill(event, piece if is_call else None, None if is_call else piece)
        _say_whence(event, key, record.scope)
        is_piece = _facts(facts, key, record.time_ns)._replace(
            call_id=piece.id, is_piece=True, logged=()
        )
        event = values.plain_event(event)
        made.append(Part(own, with_content(is_piece, event), event))
    return made


def _facts(asker: Facts, key: SpanKey, at_ns: int | None) -> Facts:
    return Facts(
        kind="tool",
        parent=key.span,
        session=asker.session,
        user=asker.user,
        start_ns=at_ns,
        end_ns=at_ns,
        scope=asker.scope,
        agent=asker.agent,
        node=asker.node,
        from_transcript=True,
        asked=asker.asked,
    )


def _fill(event: Event, call: Any, result: Any) -> None:
    observation = event["observation"]
    if call is not None:
        observation["name"], observation["input"] = call.name, call.arguments
    if result is not None:
        observation["name"] = observation["name"] or result.name
        observation["output"] = result.output
        if result.is_error:
            observation["error"] = {"type": "tool_error", "message": _short(result.output)}
    id_ = call.id if call is not None else result.id
    if id_ is not None:
        observation["metadata"]["tool_call_id"] = id_


def _say_whence(event: Event, key: SpanKey, scope: Scope) -> None:
    metadata = event["observation"]["metadata"]
    metadata[names.SOURCE] = names.TRANSCRIPT
    metadata[names.TRACE_ID] = key.trace
    if values.name(scope.name) is not None:
        metadata[names.INSTRUMENTATION] = values.name(scope.name)


def _last_words(asked: list[Message]) -> str:
    for message in reversed(asked):
        if values.text(message.get("role")) == "user" and (words := words_of(message).strip()):
            return words
    return ""


def _short(output: Any) -> str:
    return (output if isinstance(output, str) else values.canonical(output))[:500]
