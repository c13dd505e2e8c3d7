"""A body of OTLP becomes parts: inflate, tell its form, read each span, map it.

Called in the decoder threads. Whatever the bytes are, memory stays bounded, and what is wrong with
one span or log record concerns that one only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from sessionbat.server.ingest.body import Body, Decoded, Rejected, inflate
from sessionbat.server.ingest.otlp.json_reading import read_json
from sessionbat.server.ingest.otlp.limits import Unreadable
from sessionbat.server.ingest.otlp.parts import parts_of
from sessionbat.server.ingest.otlp.protobuf import Message
from sessionbat.server.ingest.otlp.reading import Item, read_protobuf
from sessionbat.server.ingest.otlp.signals import ITEMS, Signal
from sessionbat.server.ingest.value_limits import MAX_VALUES, holds_more_than
from sessionbat.server.web.refusal import Refused

if TYPE_CHECKING:
    from sessionbat.server.ingest.otlp.protocol import Exchange

_WHITESPACE: Final = b" \t\r\n"
_WRONG_TYPE: Final = {
    "json": "The body is JSON, though its content type is not application/json.",
    "protobuf": "The body is protobuf, though its content type is not application/x-protobuf.",
}


def decode_otlp(
    body: Body,
    *,
    signal: Signal,
    exchange: Exchange,
    max_bytes: int,
    max_items: int,
    received_at_us: int,
) -> Decoded:
    """Decode a body.

    Args:
        body: As received.
        signal: Spans or log records.
        exchange: Says in which form the body should be; told in which it is.
        max_bytes: Its longest length after decompression.
        max_items: The most spans or records it may hold.
        received_at_us: When it was received, in microseconds since 1970.

    Raises:
        Refused: The body as a whole cannot be read (400) or is too large (413).
    """
    data = inflate(body.data, body.encoding, max_bytes)
    decoded = Decoded([], [], len(data), 0, False)
    count = total = 0
    try:
        for item, values in _items(data, signal, exchange):
            place, count = f"{ITEMS[signal]}[{count}]", count + 1
            if count > max_items:
                raise Refused(413, "too-many-events", f"more than {max_items} in a body; send less")
            rejected = _take(decoded, item, body.app, received_at_us)
            if rejected is not None:
                decoded.rejected.append(Rejected(None, rejected.slug, place, rejected.message))
            else:
                total += values
            if total > MAX_VALUES:
                raise _too_many_values()
    except Unreadable as exc:
        if not count:
            raise Refused(400, exc.slug, exc.message) from exc
        message = f"{exc.message}; nothing behind it is read"
        decoded.rejected.append(Rejected(None, exc.slug, f"{ITEMS[signal]}[{count}]", message))
    return Decoded(decoded.events, decoded.rejected, len(data), total, False)


def _take(decoded: Decoded, item: Item, app: str | None, received_at_us: int) -> Unreadable | None:
    """Map one span or record; give why it is rejected, if it is."""
    if item is None:
        return None
    if isinstance(item, Unreadable):
        return item
    try:
        decoded.events.extend(parts_of(item, app, received_at_us))
    except Unreadable as exc:
        return exc
    return None


def _items(data: bytes, signal: Signal, exchange: Exchange) -> Iterator[tuple[Item, int]]:
    """Read a body by its content type; by its first bytes where it cannot be that."""
    declared = exchange.form
    if declared == "json" and not _starts_as_json(data) and data and _is_protobuf(data):
        exchange.form = "protobuf"
    elif declared == "protobuf" and _starts_as_json(data) and not _is_protobuf(data):
        exchange.form = "json"
    if exchange.form != declared:
        exchange.warning = _WRONG_TYPE[exchange.form]
    if exchange.form == "protobuf":
        return _whole_protobuf(data, signal)
    return read_json(_json_of(data), signal)


def _starts_as_json(data: bytes) -> bool:
    return data.lstrip(_WHITESPACE)[:1] == b"{"


def _is_protobuf(data: bytes) -> bool:
    """Whether the outermost fields fit the length; no JSON does that starts with a brace."""
    try:
        return all(number == 1 for number, _ in Message(data).fields())
    except Unreadable:
        return False


def _whole_protobuf(data: bytes, signal: Signal) -> Iterator[tuple[Item, int]]:
    if not _is_protobuf(data):
        raise Unreadable(
            "not-protobuf", "the body is not the protobuf of OTLP, or is cut short; send it whole"
        )
    return read_protobuf(data, signal)


def _json_of(data: bytes) -> Any:
    if not data.strip(_WHITESPACE):
        return {}
    if holds_more_than(MAX_VALUES, data):
        raise _too_many_values()
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise Unreadable("not-json", f"the body is not JSON: {exc}") from exc


def _too_many_values() -> Refused:
    return Refused(
        413, "too-many-values", f"the body holds more than {MAX_VALUES} values; send fewer at once"
    )
