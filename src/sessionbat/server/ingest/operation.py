"""The ingestion endpoint's OpenAPI operation: three body formats, and every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sessionbat.server.settings import Settings
from sessionbat.server.web.addresses import INGESTION_PATH
from sessionbat.server.web.operations import Answer, BodyForm, Operation, reference
from sessionbat.server.web.parameters import Schema

PATH: Final = INGESTION_PATH
#: The formats it accepts, on every answer (W3C LDP, RFC 7694). The SDK then sends batches.
CAPABILITIES: Final = {
    "Accept-Post": "application/json, application/x-ndjson",
    "Accept-Encoding": "zstd, gzip",
}

_COUNT: Final = {"type": "integer", "minimum": 0}

#: The records that its answers refer to by name.
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Stored": {
        "type": "object",
        "description": "The result for a body's events; the accepted ones are stored durably.",
        "required": ["accepted", "duplicates", "rejected"],
        "properties": {
            "accepted": _COUNT,
            "duplicates": {
                **_COUNT,
                "description": "Events that were already stored, by app, session and id.",
            },
            "rejected": {"type": "array", "items": reference("Rejected")},
        },
    },
    "Rejected": {
        "type": "object",
        "description": "An event that was not stored; the others of the body were.",
        "required": ["id", "slug", "at", "message"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "slug": {"enum": ["not-json", "bad-event", "wrong-app", "too-deep", "too-many-values"]},
            "at": {"type": "string", "examples": ["events[3].session_id"]},
            "message": {"type": "string"},
        },
    },
}


def describe(settings: Settings) -> Operation:
    """Describe the endpoint with its limits."""
    return Operation(
        method="post",
        path=PATH,
        name="ingest",
        summary="Store events durably, then answer",
        description=(
            f"At most {settings.max_body_events} events and {settings.max_body_bytes} bytes after"
            " decompression. A bad event never affects the others. An id names one event"
            " within its session: each (app, session, id) is stored once, so a body may be sent"
            " again."
        ),
        request_headers={
            "Content-Encoding": {"type": "string", "enum": ["identity", "gzip", "zstd"]}
        },
        body=(
            BodyForm(
                "application/json",
                {"oneOf": [reference("Event"), {"type": "array", "items": reference("Event")}]},
            ),
            BodyForm(
                "application/x-ndjson",
                {"description": "One event a line. Blank lines are ignored."},
            ),
        ),
        answer=Answer("Stored.", reference("Stored"), status=202),
        refusals={
            400: ("not-json", "bad-encoding", "bad-request"),
            405: ("method-not-allowed",),
            408: ("slow-body",),
            413: ("body-too-large", "too-many-events", "too-many-values"),
            415: ("unknown-content-type", "unknown-encoding"),
            422: ("bad-event", "wrong-app", "too-deep", "too-many-values"),
            503: ("busy", "store-failed", "store-closed"),
        },
        answer_headers={
            name: {"type": "string", "const": value} for name, value in CAPABILITIES.items()
        },
    )
