"""The JSON form of spans and log records, as ``reading`` gives those of protobuf.

Names may be written as in JSON (``traceId``) or as in the protocol's files (``trace_id``); numbers
of 64 bits as text or as numbers.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterator
from typing import Any, Final, Literal

from sessionbat._otel.model import LogRecord, Scope, Span, SpanEvent
from sessionbat.server.ingest.otlp import ids
from sessionbat.server.ingest.otlp.limits import Counted, Unreadable, check_level
from sessionbat.server.ingest.otlp.reading import Item
from sessionbat.server.ingest.otlp.signals import Signal

_STATUS: Final[dict[Any, Literal["unset", "ok", "error"]]] = {
    1: "ok", 2: "error", "STATUS_CODE_OK": "ok", "STATUS_CODE_ERROR": "error",
}  # fmt: skip


def read_json(request: Any, signal: Signal) -> Iterator[tuple[Item, int]]:
    """Read a decoded request: each span or log record, and how many values it has.

    Raises:
        Unreadable: It is no request of this kind.
    """
    if not isinstance(request, dict):
        raise Unreadable("not-otlp", "the body is JSON, and not an object as OTLP says")
    kinds = ("resourceSpans", "scopeSpans", "spans")
    if signal == "logs":
        kinds = ("resourceLogs", "scopeLogs", "logRecords")
    if request and kinds[0] not in request and _snake(kinds[0]) not in request:
        raise Unreadable("not-otlp", f"the body is JSON without {kinds[0]}; send OTLP/JSON")
    for group in _list(request, kinds[0]):
        resource = _attributes(_object(group, "resource"), Counted())
        for inner in _list(group, kinds[1]):
            named = _object(inner, "scope")
            scope = Scope(_text(named, "name"), _text(named, "version"), resource)
            for each in _list(inner, kinds[2]):
                counted = Counted()
                try:
                    read = _span_of if signal == "traces" else _log_of
                    item: Item = read(each, scope, counted)
                except Unreadable as exc:
                    item = exc
                yield item, counted.taken


def _span_of(given: Any, scope: Scope, counted: Counted) -> Span:
    span = _mapping(given)
    status = _object(span, "status")
    parent = _get(span, "parentSpanId")
    return Span(
        ids.from_text(_get(span, "traceId"), ids.TRACE),
        ids.from_text(_get(span, "spanId"), ids.SPAN),
        ids.from_text(parent, ids.SPAN) if parent and parent.strip("0") else None,
        _text(span, "name"),
        _number(_get(span, "startTimeUnixNano")) or None,
        _number(_get(span, "endTimeUnixNano")) or None,
        _STATUS.get(_key(status.get("code")), "unset"),
        _text(status, "message"),
        _attributes(span, counted),
        [_event_of(_mapping(each), counted) for each in _list(span, "events")],
        scope,
    )


def _event_of(event: dict[str, Any], counted: Counted) -> SpanEvent:
    counted.take()
    time_ns = _number(_get(event, "timeUnixNano"))
    return SpanEvent(_text(event, "name"), time_ns, _attributes(event, counted))


def _log_of(given: Any, scope: Scope, counted: Counted) -> LogRecord | None:
    record = _mapping(given)
    trace, span = _get(record, "traceId"), _get(record, "spanId")
    if not trace or not span:
        return None  # as most records of a program are: they tell of no call
    time_ns = _number(_get(record, "timeUnixNano"))
    return LogRecord(
        ids.from_text(trace, ids.TRACE),
        ids.from_text(span, ids.SPAN),
        _text(record, "eventName"),
        time_ns or _number(_get(record, "observedTimeUnixNano")) or None,
        _attributes(record, counted),
        _value(record.get("body"), counted, 0),
        scope,
    )


def _attributes(owner: dict[str, Any], counted: Counted) -> dict[str, Any]:
    return _pairs(_list(owner, "attributes"), counted, 0)


def _pairs(listed: list[Any], counted: Counted, level: int) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for each in listed:
        pair = _mapping(each)
        pairs[_text(pair, "key")] = _value(pair.get("value"), counted, level)
    return pairs


def _value(given: Any, counted: Counted, level: int) -> Any:
    counted.take()
    check_level(level)
    if given is None:
        return None
    for name, value in _mapping(given).items():
        kind = name.replace("_", "").removesuffix("Value").removesuffix("value")
        if kind in ("string", "bool"):
            return value
        if kind == "int":
            return _number(value)
        if kind == "double":
            return _double(value)
        if kind == "array":
            values = _list(_mapping(value), "values")
            return [_value(each, counted, level + 1) for each in values]
        if kind == "kvlist":
            return _pairs(_list(_mapping(value), "values"), counted, level + 1)
        if kind == "bytes":
            return _bytes(value)
    return None


def _bytes(value: Any) -> Any:
    try:
        return b64decode(value)
    except (Error, ValueError, TypeError):
        return value


def _double(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> int:
    if isinstance(value, str) and len(value) <= 20 and value.lstrip("-").isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) and abs(value) < 2**64 else 0


def _get(owner: dict[str, Any], name: str) -> Any:
    value = owner.get(name)
    return owner.get(_snake(name)) if value is None else value


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _key(value: Any) -> Any:
    return value if isinstance(value, int | str) else None


def _text(owner: dict[str, Any], name: str) -> str:
    value = _get(owner, name)
    return value if isinstance(value, str) else ""


def _object(owner: Any, name: str) -> dict[str, Any]:
    value = _get(_mapping(owner), name)
    return value if isinstance(value, dict) else {}


def _list(owner: Any, name: str) -> list[Any]:
    value = _get(_mapping(owner), name)
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("bad-span", "an object is expected where something else stands")
    return value
