"""The captures of what instrumentors send, decoded into spans and log records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sessionbat._otel.model import LogRecord, Scope, Span, SpanEvent

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "otlp"

_STATUSES = {"STATUS_CODE_OK": "ok", "STATUS_CODE_ERROR": "error", 1: "ok", 2: "error"}


def spans_of(name: str) -> list[Span]:
    """Read the spans of a capture, in the order they were sent."""
    return spans_in(_read(f"{name}.json"))


def spans_in(request: Any) -> list[Span]:
    """Read the spans of an export request."""
    return [
        _span(raw, scope)
        for resource in request["resourceSpans"]
        for inner in resource["scopeSpans"]
        for scope in [_scope(inner, resource)]
        for raw in inner["spans"]
    ]


def logs_of(name: str) -> list[LogRecord]:
    """Read the log records that came with a capture; most have none."""
    if not (FOLDER / f"{name}.logs.json").exists():
        return []
    return [
        LogRecord(
            trace_id=raw.get("traceId", ""),
            span_id=raw.get("spanId", ""),
            name=raw.get("eventName", ""),
            time_ns=int(raw.get("timeUnixNano") or raw.get("observedTimeUnixNano") or 0) or None,
            attributes=_attributes(raw),
            body=_value(raw["body"]) if "body" in raw else None,
            scope=scope,
        )
        for resource in _read(f"{name}.logs.json")["resourceLogs"]
        for inner in resource["scopeLogs"]
        for scope in [_scope(inner, resource)]
        for raw in inner["logRecords"]
    ]


def names() -> Iterator[str]:
    """Name the captures that are here."""
    for path in sorted(FOLDER.glob("*.json")):
        name = path.name.removesuffix(".json")
        if not name.endswith((".logs", ".body", ".head")):
            yield name


def _read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def _scope(inner: Any, resource: Any) -> Scope:
    scope = inner.get("scope", {})
    about = _attributes(resource.get("resource", {}))
    return Scope(scope.get("name", ""), scope.get("version") or "", about)


def _span(raw: Any, scope: Scope) -> Span:
    status = raw.get("status", {})
    return Span(
        trace_id=raw["traceId"],
        span_id=raw["spanId"],
        parent_id=raw.get("parentSpanId") or None,
        name=raw.get("name", ""),
        start_ns=int(raw["startTimeUnixNano"]),
        end_ns=int(raw["endTimeUnixNano"]),
        status=_STATUSES.get(status.get("code"), "unset"),  # type: ignore[arg-type]
        status_message=status.get("message", ""),
        attributes=_attributes(raw),
        events=[
            SpanEvent(each["name"], int(each["timeUnixNano"]), _attributes(each))
            for each in raw.get("events", ())
        ],
        scope=scope,
    )


def _attributes(raw: Any) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in raw.get("attributes", ())}


def _value(raw: Any) -> Any:
    ((kind, value),) = raw.items() if raw else (("", None),)
    if kind == "arrayValue":
        return [_value(each) for each in value.get("values", ())]
    if kind == "kvlistValue":
        return {each["key"]: _value(each["value"]) for each in value.get("values", ())}
    return int(value) if kind == "intValue" else value
