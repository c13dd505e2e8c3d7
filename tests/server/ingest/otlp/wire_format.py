"""Requests of OTLP for tests, written by hand: nothing here reads what the server reads with."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
START_NS = 1_795_456_800_000_000_000


def varint(number: int) -> bytes:
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def field(number: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def value(given: Any) -> bytes:
    if isinstance(given, bool):
        return b"\x10" + varint(given)
    if isinstance(given, int):
        return b"\x18" + varint(given & (1 << 64) - 1)
    if isinstance(given, float):
        return b"\x21" + struct.pack("<d", given)
    if isinstance(given, list):
        return field(5, b"".join(field(1, value(each)) for each in given))
    if isinstance(given, dict):
        return field(6, pairs(given, 1))
    if isinstance(given, bytes):
        return field(7, given)
    return field(1, given)


def pairs(attributes: dict[str, Any], number: int) -> bytes:
    return b"".join(
        field(number, field(1, key) + field(2, value(said))) for key, said in attributes.items()
    )


def chat(span: str = "00f067aa0ba902b7", trace: str = TRACE, **more: Any) -> dict[str, Any]:
    """Say what a span of a model call is, for ``protobuf`` or ``as_json``."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5.4-mini",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 18,
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]}]
        ),
        **more.pop("attributes", {}),
    }
    return {"trace": trace, "span": span, "attributes": attributes, "name": "chat", **more}


def span_bytes(span: dict[str, Any]) -> bytes:
    trace, own = span["trace"], span["span"]
    return b"".join(
        (
            field(1, trace if isinstance(trace, bytes) else bytes.fromhex(trace)),
            field(2, own if isinstance(own, bytes) else bytes.fromhex(own)),
            field(4, bytes.fromhex(span.get("parent", ""))),
            field(5, span["name"]),
            fixed64(7, span.get("start", START_NS)),
            fixed64(8, span.get("end", START_NS + 10**9)),
            pairs(span["attributes"], 9),
            span.get("raw", b""),
        )
    )


def protobuf(spans: Iterable[dict[str, Any] | bytes], service: str = "support-bot") -> bytes:
    written = (each if isinstance(each, bytes) else span_bytes(each) for each in spans)
    resource = field(1, pairs({"service.name": service} if service else {}, 1))
    scope = field(1, field(1, "test.scope") + field(2, "1"))
    return field(1, resource + field(2, scope + b"".join(field(2, each) for each in written)))


def json_value(given: Any) -> Any:
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [json_value(each) for each in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": json_pairs(given)}}
    return {"stringValue": given}


def json_pairs(attributes: dict[str, Any]) -> list[Any]:
    return [{"key": key, "value": json_value(said)} for key, said in attributes.items()]


def json_span(span: dict[str, Any]) -> dict[str, Any]:
    return {
        "traceId": span["trace"],
        "spanId": span["span"],
        "parentSpanId": span.get("parent", ""),
        "name": span["name"],
        "startTimeUnixNano": str(span.get("start", START_NS)),
        "endTimeUnixNano": str(span.get("end", START_NS + 10**9)),
        "attributes": json_pairs(span["attributes"]),
    }


def as_json(spans: Iterable[Any], service: str = "support-bot") -> bytes:
    resource = {"attributes": json_pairs({"service.name": service})}
    listed = [json_span(each) for each in spans]
    scopes = [{"scope": {"name": "test.scope", "version": "1"}, "spans": listed}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}).encode()


def partial_of(body: bytes) -> tuple[int, str]:
    """Read what an answer of protobuf says: how many are rejected, and why."""
    if not body:
        return 0, ""
    assert body[0] == 0x0A
    return status_of(body[2:] if body[1] < 128 else body[3:])


def status_of(body: bytes) -> tuple[int, str]:
    """Read a number in field 1 and a text in field 2."""
    number, text = 0, ""
    if body[:1] == b"\x08":
        number, body = body[1], body[2:]
    if body[:1] == b"\x12":
        text = (body[2:] if body[1] < 128 else body[3:]).decode()
    return number, text
