"""The OpenAPI operations of OTLP: one for each signal at each address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sessionbat.server.ingest.otlp.answers import MEDIA_TYPES
from sessionbat.server.ingest.otlp.signals import BASES, REJECTED_FIELDS, SIGNALS, Signal, path_of
from sessionbat.server.settings import Settings
from sessionbat.server.web.operations import Answer, BodyForm, Operation, reference
from sessionbat.server.web.parameters import Schema

_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_GROUPS: Final[dict[Signal, str]] = {
    "traces": "resourceSpans",
    "logs": "resourceLogs",
    "metrics": "resourceMetrics",
}
_SUMMARIES: Final[dict[Signal, str]] = {
    "traces": "Store the model calls, tool calls and retrievals among OpenTelemetry spans",
    "logs": "Store the messages among OpenTelemetry log records, each with its span",
    "metrics": "Take OpenTelemetry metrics and drop them, so that exporters do not complain",
}

#: The records that its answers refer to by name.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Partial": {
        "type": "object",
        "description": "Everything is stored but the spans or records that are counted here.",
        "properties": {
            "partialSuccess": {
                "type": "object",
                "properties": {
                    **{name: {"type": "string"} for name in REJECTED_FIELDS.values()},
                    "errorMessage": {"type": "string"},
                },
            }
        },
    },
    "Status": {
        "type": "object",
        "description": "Why a request is refused; a slug ends the message, in brackets.",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer", "description": "As in google.rpc.Code."},
            "message": {"type": "string"},
        },
    },
}


def describe_all(settings: Settings) -> list[Operation]:
    """Describe every signal at every address, with the limits of a body."""
    return [_describe(signal, base, settings) for base in BASES for signal in SIGNALS]


def _describe(signal: Signal, base: str, settings: Settings) -> Operation:
    words = [*base.strip("/").split("/"), "otlp", signal]
    return Operation(
        method="post",
        path=path_of(signal, base),
        name="_".join(word for word in words if word),
        summary=_SUMMARIES[signal],
        description=(
            f"OTLP over HTTP. At most {settings.max_body_events} spans or records and"
            f" {settings.max_body_bytes} bytes after decompression. Answered in the form of the"
            " request once everything is stored durably; it may be sent again."
        ),
        request_headers={
            "Content-Encoding": {"type": "string", "enum": ["identity", "gzip", "zstd"]}
        },
        body=(
            BodyForm(
                MEDIA_TYPES["json"],
                {"type": "object", "properties": {_GROUPS[signal]: _OBJECTS}},
            ),
            BodyForm(MEDIA_TYPES["protobuf"], {"type": "string", "format": "binary"}),
        ),
        answer=Answer("Stored.", reference("Partial")),
        refusal=reference("Status"),
        also=MEDIA_TYPES["protobuf"],
        refusals={
            400: ("not-json", "not-otlp", "not-protobuf", "bad-encoding", "bad-request"),
            405: ("method-not-allowed",),
            413: ("body-too-large", "too-many-events", "too-many-values"),
            415: ("unknown-encoding",),
            503: ("busy", "slow-body", "store-failed", "store-closed"),
        },
        answer_headers={"Accept-Encoding": {"type": "string"}},
    )
