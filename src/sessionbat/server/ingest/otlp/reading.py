"""A request's spans or log records, each by itself: one that is broken harms no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from sessionbat._otel.model import LogRecord, Scope, Span, SpanEvent
from sessionbat.server.ingest.otlp import ids
from sessionbat.server.ingest.otlp.limits import Counted, Unreadable
from sessionbat.server.ingest.otlp.protobuf import Message
from sessionbat.server.ingest.otlp.signals import Signal

#: A span, a log record (None: it belongs to no span), or why it cannot be read.
Item = Span | LogRecord | None | Unreadable

_STATUS: Final[dict[int, Literal["unset", "ok", "error"]]] = {1: "ok", 2: "error"}


def read_protobuf(data: bytes, signal: Signal) -> Iterator[tuple[Item, int]]:
    """Read a request of protobuf: each span or log record, and how many values it has.

    Raises:
        Unreadable: The request as a whole is broken; what came before stands.
    """
    read = _span_of if signal == "traces" else _log_of
    request = Message(data)
    for number, found in request.fields():
        if number == 1:
            yield from _resource_of(request.inner(found), read)


def _resource_of(group: Message, read: Callable[..., Item]) -> Iterator[tuple[Item, int]]:
    resource = _attributes_in(group, 1)
    for number, found in group.fields():
        if number == 2:
            yield from _scope_of(group.inner(found), resource, read)


def _scope_of(
    group: Message, resource: dict[str, Any], read: Callable[..., Item]
) -> Iterator[tuple[Item, int]]:
    name = version = ""
    for number, found in group.fields():
        if number == 1:
            named = group.inner(found)
            for field, text in named.fields():
                if field == 1:
                    name = named.text(text)
                elif field == 2:
                    version = named.text(text)
    scope = Scope(name, version, resource)
    for number, found in group.fields():
        if number == 2:
            counted = Counted()
            try:
                item = read(group.inner(found), scope, counted)
            except Unreadable as exc:
                item = exc
            yield item, counted.taken


def _attributes_in(group: Message, field: int) -> dict[str, Any]:
    for number, found in group.fields():
        if number == field:
            return group.inner(found).attributes(1, Counted())
    return {}


def _span_of(message: Message, scope: Scope, counted: Counted) -> Span:
    attributes: dict[str, Any] = {}
    events: list[SpanEvent] = []
    trace = span = parent = b""
    name, status, said = "", 0, ""
    start = end = 0
    for number, found in message.others(9, attributes, counted):
        if number == 11:
            events.append(_event_of(message.inner(found), counted))
        elif number == 1:
            trace = message.bytes(found)
        elif number == 2:
            span = message.bytes(found)
        elif number == 4:
            parent = message.bytes(found)
        elif number == 5:
            name = message.text(found)
        elif number == 7:
            start = message.fixed64(found)
        elif number == 8:
            end = message.fixed64(found)
        elif number == 15:
            status, said = _status_of(message.inner(found))
    return Span(
        ids.from_bytes(trace, ids.TRACE),
        ids.from_bytes(span, ids.SPAN),
        ids.from_bytes(parent, ids.SPAN) if any(parent) else None,
        name,
        start or None,
        end or None,
        _STATUS.get(status, "unset"),
        said,
        attributes,
        events,
        scope,
    )


def _event_of(message: Message, counted: Counted) -> SpanEvent:
    counted.take()
    name, time_ns, attributes = "", 0, dict[str, Any]()
    for number, found in message.others(3, attributes, counted):
        if number == 1:
            time_ns = message.fixed64(found)
        elif number == 2:
            name = message.text(found)
    return SpanEvent(name, time_ns, attributes)


def _status_of(message: Message) -> tuple[int, str]:
    code, said = 0, ""
    for number, found in message.fields():
        if number == 2:
            said = message.text(found)
        elif number == 3:
            code = found
    return code, said


def _log_of(message: Message, scope: Scope, counted: Counted) -> LogRecord | None:
    attributes: dict[str, Any] = {}
    trace = span = b""
    name, body, time_ns, observed_ns = "", None, 0, 0
    for number, found in message.others(6, attributes, counted):
        if number == 1:
            time_ns = message.fixed64(found)
        elif number == 11:
            observed_ns = message.fixed64(found)
        elif number == 5:
            body = message.inner(found).value(counted)
        elif number == 9:
            trace = message.bytes(found)
        elif number == 10:
            span = message.bytes(found)
        elif number == 12:
            name = message.text(found)
    if not any(trace) or not any(span):
        return None  # as most records of a program are: they tell of no call
    return LogRecord(
        ids.from_bytes(trace, ids.TRACE),
        ids.from_bytes(span, ids.SPAN),
        name,
        time_ns or observed_ns or None,
        attributes,
        body,
        scope,
    )
