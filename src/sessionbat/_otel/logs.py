"""Messages that come as log records, and belong to a span that comes by another request.

``gen_ai.user.message`` and its kin hold one message each; ``…operation.details`` a whole call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sessionbat._otel import (
    event_messages,
    finish_reasons,
    messages,
    models,
    names,
    tokens,
    transcript_parts,
    values,
)
from sessionbat._otel.attributes import Attributes, Names
from sessionbat._otel.content_facts import mark_content, with_content
from sessionbat._otel.envelopes import envelope_of
from sessionbat._otel.host_metadata import HostMetadata
from sessionbat._otel.model import LogRecord, Span, SpanKey
from sessionbat._otel.parts import Event, Facts, Part
from sessionbat._otel.transcript_parts import Asker

#: Google's ADK numbers its model calls; two of them may be told of one span.
_CALL_NUMBER: Final = Names("gcp.vertex.agent.event_id")
_ERROR: Final = Names("error.type")


def map_log(record: LogRecord) -> Sequence[Part]:
    """Map a log record that holds messages of a model call; nothing for any other. Never raises."""
    if not record.trace_id or not record.span_id:
        return ()
    name = record.name or values.text(record.attributes.get("event.name"))
    if name == event_messages.DETAILS:
        return _of_details(record)
    if name in event_messages.ASKED or name == event_messages.CHOICE:
        return _of_message(record, name)
    return ()


def _of_message(record: LogRecord, name: str) -> Sequence[Part]:
    body = values.decoded(record.body)
    said = {**record.attributes, **body} if isinstance(body, dict) else record.attributes
    message = event_messages.message_of(name, said)
    reason, raw = finish_reasons.normalised(said.get("finish_reason"))
    if message is None and reason is None:
        return ()
    side, place = ("out", "output") if name == event_messages.CHOICE else ("in", "input")
    key = SpanKey(record.trace_id, record.span_id)
    host = HostMetadata(Attributes(record.attributes))
    event = envelope_of("llm", key, record.scope, record.attributes, host)
    observation = event["observation"]
    observation[place] = None if message is None else {"messages": [message]}
    why = {"finish_reason": reason, "finish_reason_raw": raw}
    observation["metadata"].update({k: v for k, v in why.items() if v is not None})
    event = values.plain_event(event)
    written = values.digest(values.canonical(event["observation"][place]))
    logged = () if message is None else ((record.time_ns or 0, side, written),)
    facts = Facts(kind="log", session=host.session, user=host.user, logged=logged)
    part = Part(key, with_content(facts, event), event)
    return (part, *transcript_parts.pieces(message or {}, event, facts, key, record))


def _of_details(record: LogRecord) -> Sequence[Part]:
    attributes = Attributes({**_of_body(record.body), **record.attributes})
    number = attributes.name(_CALL_NUMBER)
    own = f"{record.span_id}.{values.digest(number)[:12]}" if number else record.span_id
    key = SpanKey(record.trace_id, own)
    host = HostMetadata(attributes)
    event = envelope_of("llm", key, record.scope, attributes.raw, host)
    talk = _fill(event, record, attributes)
    event = values.plain_event(event)
    facts = Facts(
        kind="llm",
        parent=record.span_id if number else None,
        session=host.session,
        user=host.user,
        agent=host.agent,
        start_ns=record.time_ns if number else None,
        end_ns=record.time_ns if number else None,
        scope=record.scope.name[: values.MAX_NAME_CHARACTERS],
        response_id=models.response_id_of(attributes, None),
        is_log=bool(number),
    )
    if number:
        mark_content(event, facts)
    part = Part(key, with_content(facts, event), event)
    asker = Asker(SpanKey(record.trace_id, record.span_id), record.scope, host, record.time_ns)
    return (part, *asker.tools(talk.asked, facts, event["app"]))


def _fill(event: Event, record: LogRecord, attributes: Attributes) -> messages.Conversation:
    observation = event["observation"]
    span = Span(record.trace_id, record.span_id, None, "", None, None, attributes=attributes.raw)
    talk = messages.conversation_of(span, attributes)
    observation["input"], observation["output"] = talk.input, talk.output
    observation["metrics"].update(tokens.tokens_of(attributes))
    error = attributes.name(_ERROR)
    if error is not None:
        observation["error"] = {"type": error, "message": ""}
    said = {
        "model": models.model_of(attributes),
        "provider": models.provider_of(attributes),
        "finish_reason": talk.finish_reason,
        "finish_reason_raw": talk.raw_finish_reason,
        "response_id": models.response_id_of(attributes, None),
        "instrumentation": values.name(record.scope.name),
        names.TRACE_ID: record.trace_id,
        names.SPAN_ID: record.span_id,
    }
    observation["metadata"].update({k: v for k, v in said.items() if v is not None})
    return talk


def _of_body(body: Any) -> Mapping[str, Any]:
    return {k: v for k, v in values.mapping(body).items() if isinstance(k, str)}
