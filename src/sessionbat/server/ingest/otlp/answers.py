"""Answers of OTLP, in protobuf or JSON: what was rejected, or why a request is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson
from starlette.responses import Response

from sessionbat.server.ingest.body import Rejected
from sessionbat.server.ingest.otlp.signals import REJECTED_FIELDS, Signal
from sessionbat.server.web.refusal import Refused

Form = Literal["protobuf", "json"]

MEDIA_TYPES: Final[dict[Form, str]] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}
#: Of the rejected, so many are named; a client prints the message as it is.
MAX_NAMED: Final = 5

#: ``google.rpc.Code`` by HTTP status; any other is UNKNOWN.
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14}
#: Final to an OTLP client, though the same may well be sent again.
_AGAIN: Final = (408,)


def answer(signal: Signal, form: Form, rejected: Sequence[Rejected], warning: str) -> Response:
    """Answer 200: all is stored but what is named."""
    message = " ".join(filter(None, (_message(rejected), warning)))
    field = REJECTED_FIELDS[signal]
    if form == "json":
        partial: dict[str, Any] = {}
        if rejected:
            partial[field] = str(len(rejected))
        if message:
            partial["errorMessage"] = message
        return _response(form, 200, orjson.dumps({"partialSuccess": partial} if partial else {}))
    inner = b""
    if rejected:
        inner += b"\x08" + _varint(len(rejected))
    if message:
        inner += _text(2, message)
    return _response(form, 200, _field(1, inner) if inner else b"")


def refuse(form: Form, refused: Refused) -> Response:
    """Answer with a ``google.rpc.Status``, and a status that a client takes rightly."""
    status, headers = refused.status, dict(refused.headers)
    if status in _AGAIN:
        status = 503
    if status in (429, 503):
        headers.setdefault("Retry-After", "1")
    code = _CODES.get(status, 2)
    message = f"{refused.message} [{refused.slug}]"
    if form == "json":
        content = orjson.dumps({"code": code, "message": message})
    else:
        content = b"\x08" + _varint(code) + _text(2, message)
    response = _response(form, status, content)
    response.headers.update(headers)
    return response


def _message(rejected: Sequence[Rejected]) -> str:
    named = [f"{each.at}: {each.message} [{each.slug}]." for each in rejected[:MAX_NAMED]]
    if len(rejected) > MAX_NAMED:
        named.append(f"And {len(rejected) - MAX_NAMED} more.")
    return " ".join(named)


def _response(form: Form, status: int, content: bytes) -> Response:
    return Response(content, status, media_type=MEDIA_TYPES[form])


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode("utf-8", "replace"))


def _field(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
