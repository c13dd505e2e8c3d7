"""Events → an OTLP export request in JSON, which ``mapping`` reads back as the same events.

Field names in lowerCamelCase, ids in hex, 64-bit integers and times as texts (OTLP 1.x, "JSON
Protobuf Encoding"). Pure: the same events give the same spans at every sending.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sessionbat._otel import names, values
from sessionbat._otel.span_attributes import evaluation_of, operation_of, span_attributes_of
from sessionbat._otel.span_ids import span_ids_of
from sessionbat._otel.span_times import span_times_of
from sessionbat.event import LLM, RETRIEVAL

_INTERNAL, _CLIENT = 1, 3
_OK_UNSET, _ERROR = 0, 2
#: Each of these has an attribute of its own; the rest of the event goes into the envelope's.
_APART: Final = {
    "id": names.ID,
    "type": names.TYPE,
    "app": names.APP,
    "session_id": names.SESSION,
    "interaction_id": names.INTERACTION,
    "created_at": names.CREATED_AT,
}
_INSIDE: Final = {"observation": names.OBSERVATION, "feedback": names.FEEDBACK}
_NOT_IN_ENVELOPE: Final = frozenset({*_APART, *_INSIDE})


def export_request(events: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """Write events as one ``ExportTraceServiceRequest``, a resource for each app.

    Args:
        events: As they were recorded.
        version: Of what writes them.
    """
    by_app: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_app.setdefault(values.text(event.get("app")), []).append(span_of(event))
    scope = {"name": "sessionbat", "version": version}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": app})},
                "scopeSpans": [{"scope": scope, "spans": spans}],
            }
            for app, spans in by_app.items()
        ]
    }


def span_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Write one event as a span."""
    ids = span_ids_of(event)
    start, end = span_times_of(event)
    span = {
        "traceId": ids.trace,
        "spanId": ids.span,
        "name": _name(event),
        "kind": _CLIENT if event.get("type") in (LLM, RETRIEVAL) else _INTERNAL,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": _attributes(span_attributes_of(event) | _own(event)),
        "status": _status(event),
    }
    if ids.parent:
        span["parentSpanId"] = ids.parent
    evaluation = evaluation_of(event)
    if evaluation is not None:
        made = {"name": "gen_ai.evaluation.result", "timeUnixNano": str(end)}
        span["events"] = [made | {"attributes": _attributes(evaluation)}]
    return span


def _name(event: Mapping[str, Any]) -> str:
    """``chat gpt-5.4-mini``, ``execute_tool lookup_account``, as the conventions have it."""
    observation = values.mapping(event.get("observation"))
    is_llm = event.get("type") == LLM
    about = values.dig(observation, "metadata", "model") if is_llm else observation.get("name")
    return " ".join(filter(None, (operation_of(event), values.name(about)))) or "event"


def _status(event: Mapping[str, Any]) -> dict[str, Any]:
    error = values.dig(event, "observation", "error")
    if error is None:
        return {"code": _OK_UNSET}
    message = values.dig(error, "message") or (error if isinstance(error, str) else "")
    return {"code": _ERROR, "message": values.text(message)}


def _own(event: Mapping[str, Any]) -> dict[str, Any]:
    """Write the whole event, for SessionBat; what it lacks or is null has no attribute."""
    made = {name: event[key] for key, name in _APART.items() if event.get(key) is not None}
    rest = {key: value for key, value in event.items() if key not in _NOT_IN_ENVELOPE}
    made[names.ENVELOPE] = _json(rest)
    for key, name in _INSIDE.items():
        if key in event:
            made[name] = _json(event[key])
    return made


def _attributes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in found.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": value if isinstance(value, str) else _json(value)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
