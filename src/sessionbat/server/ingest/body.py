"""Decodes an ingestion request's body into events: inflate, split, parse, check.

Pure functions over bytes, called by the decoder threads. Memory is bounded for any input, and one
bad event does not affect the others.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson

from sessionbat.event import find_problem, is_event_id
from sessionbat.server.ingest.repeated_names import find_repeated_name
from sessionbat.server.ingest.value_limits import (
    MAX_VALUES,
    count_roughly,
    holds_more_than,
    outside_strings,
)
from sessionbat.server.reading.json_values import MAX_EVENT_VALUES
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.parts import ReceivedPart
from sessionbat.server.web.refusal import Refused

#: Deeper than the SDK ever nests, and shallow enough for every recursive reader of the event.
MAX_DEPTH: Final = 200

Encoding = Literal["identity", "gzip", "zstd"]


class Decode(Protocol):
    """Decodes a body into events; called in the decoder threads."""

    def __call__(self, body: Body, *, received_at_us: int) -> Decoded:
        """Decode a body that was received at this time, in microseconds since 1970.

        Raises:
            Refused: The body as a whole cannot be read (400) or is too large (413).
        """


class Body(NamedTuple):
    """A request's body as received, still compressed."""

    data: bytes
    encoding: Encoding
    #: The decoder of its protocol.
    decode: Decode
    #: The only app that may be written to, and the default for events that name none. With None,
    #: every event has to name its app.
    app: str | None = None


class Rejected(NamedTuple):
    """An event that is rejected while the others of its body are stored.

    ``at`` names its index in the body and the field, ``events[3].session_id``, counted from 0 for
    every form of body. A body of one event is a list of one; blank lines do not count.
    """

    id: str | None
    slug: str
    at: str
    message: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded body: its events, and those that were rejected."""

    events: list[ReceivedEvent | ReceivedPart]
    rejected: list[Rejected]
    #: Length of the body after decompression.
    size: int
    #: The approximate number of values in it, a measure of its memory.
    values: int
    #: Whether the body was a single event and not a list.
    is_single: bool


def decode_body(
    body: Body, *, is_ndjson: bool, max_bytes: int, max_events: int, received_at_us: int
) -> Decoded:
    """Decode a JSON or NDJSON body into events.

    Args:
        body: The body as received.
        is_ndjson: Whether it has one event a line; else it is one event or an array of them.
        max_bytes: Its longest length after decompression.
        max_events: The most events it may hold.
        received_at_us: When it was received, in microseconds since 1970.

    Raises:
        Refused: The body as a whole cannot be read (400) or is too large (413).
    """
    text = inflate(body.data, body.encoding, max_bytes)
    # Before an array is split, which takes as long as it has brackets and commas.
    if not is_ndjson and holds_more_than(MAX_VALUES, text):
        raise _too_many_values()
    is_single = not is_ndjson and not text.lstrip(_WHITESPACE).startswith(b"[")
    if is_single:
        raws: Sequence[bytes] = [text.strip(_WHITESPACE)]
    else:
        split = split_lines if is_ndjson else split_array
        raws = split(text, max_events)
    values = [*map(count_roughly, raws)]
    total = sum(values)
    if total > MAX_VALUES:
        check_values(raws)
    decoded = Decoded([], [], len(text), total, is_single)
    for index, (raw, count) in enumerate(zip(raws, values, strict=True)):
        event = _read_event(raw, count, index, body.app, received_at_us)
        if isinstance(event, Rejected):
            decoded.rejected.append(event)
        else:
            decoded.events.append(event)
    if is_single and decoded.rejected and decoded.rejected[0].slug == "not-json":
        raise Refused(400, "not-json", decoded.rejected[0].message)
    return decoded


def inflate(data: bytes, encoding: Encoding, max_bytes: int) -> bytes:
    """Decompress a body, stopping as soon as it exceeds the limit.

    Raises:
        Refused: It is longer than ``max_bytes`` decompressed (413), or damaged (400).
    """
    if encoding == "gzip":
        text = _gunzip(data, max_bytes)
    elif encoding == "zstd":
        text = _unzstd(data, max_bytes)
    else:
        text = data
    if len(text) > max_bytes:
        raise too_large(max_bytes)
    return text


def inflates_to_at_most(limit: int, data: bytes, encoding: Encoding) -> bool:
    """Whether a body is at most this long decompressed; costs at most inflating that much.

    For zstd the length in its frame is used, which is checked when it is inflated.
    """
    if encoding == "zstd":
        import zstandard

        try:
            return 0 < zstandard.get_frame_parameters(data).content_size <= limit
        except zstandard.ZstdError:
            return True  # refused at once
    try:
        return len(_gunzip(data, limit)) <= limit
    except Refused:
        return True


def too_large(max_bytes: int) -> Refused:
    """Make the 413 for a body that is longer than ``max_bytes``."""
    return Refused(
        413,
        "body-too-large",
        f"the body is longer than {max_bytes} bytes after decompression; send less at once",
    )


def check_values(raws: Sequence[bytes]) -> None:
    """Refuse a body with too many values; events rejected for too many values do not count.

    Raises:
        Refused: There are more than ``MAX_VALUES``, outside of strings (413).
    """
    kept = [raw for raw in raws if not holds_more_than(MAX_EVENT_VALUES, raw)]
    if holds_more_than(MAX_VALUES, b",".join(kept)):
        raise _too_many_values()


def split_lines(text: bytes, max_events: int) -> list[bytes]:
    """Split NDJSON into its lines, without blank ones.

    Raises:
        Refused: There are more than ``max_events`` events, or twice as many blank lines (413).
    """
    most = 2 * max_events + 1
    pieces = text.split(b"\n", most)  # no more: 32 MB may be as many lines
    if len(pieces) > most:
        raise _too_many(max_events)
    lines = [line for each in pieces if (line := each.strip(_WHITESPACE))]
    if len(lines) > max_events:
        raise _too_many(max_events)
    return lines


def split_array(text: bytes, max_events: int) -> list[bytes]:
    """Split a JSON array into the text of its elements, even if some of them are invalid.

    Raises:
        Refused: The array does not end, or there is text outside its elements (400).
    """
    elements: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(text):
        kind = text[token.start()]
        if kind == _QUOTE:
            if token.end() == token.start() + 1:
                break  # a string that does not end
        elif kind in _OPENING:
            depth += 1
            if depth == 1:
                start = token.end()
        elif depth == 1:  # a comma between elements, or the end
            elements.append(text[start : token.start()].strip(_WHITESPACE))
            start = token.end()
            if len(elements) > max_events:
                raise _too_many(max_events)
            if kind != _COMMA:
                return _check_elements(elements, rest=text[start:])
        elif kind != _COMMA:
            depth -= 1
    raise Refused(400, "not-json", "the body is a JSON array that does not end")


_WHITESPACE: Final = b" \t\r\n"
_QUOTE, _COMMA = b'",'
_OPENING: Final = b"[{"
# A string with its escapes, or a character of structure; a lone quote is a string without an end.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)

# zstd can make 32 KB of one byte; slices of this length overshoot the limit by 32 MB at most.
_ZSTD_SLICE: Final = 1024
_ZSTD_MAX_WINDOW: Final = 32 * 1024 * 1024


def _check_elements(elements: list[bytes], rest: bytes) -> list[bytes]:
    if rest.strip(_WHITESPACE):
        raise Refused(400, "not-json", "something follows the end of the JSON array")
    if elements == [b""]:
        return []
    if b"" in elements:
        raise Refused(400, "not-json", "the JSON array has an empty element")
    return elements


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(data, max_bytes + 1)
    except zlib.error as exc:
        raise _damaged("gzip") from exc
    if len(text) <= max_bytes and (not inflater.eof or inflater.unused_data):
        raise _damaged("gzip")
    return text


def _unzstd(data: bytes, max_bytes: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    text = bytearray()
    try:
        size = zstandard.get_frame_parameters(data).content_size
        if 0 < size <= max_bytes:  # it says how long it is, and is refused when that is untrue
            return decompressor.decompress(data, allow_extra_data=False)
        inflater = decompressor.decompressobj()
        for start in range(0, len(data), _ZSTD_SLICE):
            text += inflater.decompress(data[start : start + _ZSTD_SLICE])
            if len(text) > max_bytes:
                raise too_large(max_bytes)
    except zstandard.ZstdError as exc:
        raise _damaged("zstd") from exc
    if not inflater.eof or inflater.unused_data:
        raise _damaged("zstd")
    return bytes(text)


def _damaged(encoding: str) -> Refused:
    return Refused(
        400,
        "bad-encoding",
        f"the body is not one whole {encoding} stream; compress it again, as one stream",
    )


def _too_many(max_events: int) -> Refused:
    return Refused(
        413, "too-many-events", f"the body holds more than {max_events} events; send fewer at once"
    )


def _too_many_values() -> Refused:
    return Refused(
        413,
        "too-many-values",
        f"the body holds more than {MAX_VALUES} values; send fewer events at once",
    )


def _too_many_of_one(index: int) -> Rejected:
    message = f"more than {MAX_EVENT_VALUES} values; send part of it as a string"
    return Rejected(None, "too-many-values", f"events[{index}]", message)


def _read_event(
    raw: bytes, values: int, index: int, app: str | None, received_at_us: int
) -> ReceivedEvent | Rejected:
    """Parse and check one event, given its approximate number of values."""
    if values > MAX_EVENT_VALUES and holds_more_than(MAX_EVENT_VALUES, raw):
        return _too_many_of_one(index)
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        return Rejected(None, "not-json", f"events[{index}]", f"not JSON: {exc}")
    is_without_app = app is not None and isinstance(event, dict) and "app" not in event
    if is_without_app:
        event = {"app": app, **event}  # where _with_app writes it
    problem = find_problem(event)
    if problem is not None:
        at = f"events[{index}].{problem.at}" if problem.at else f"events[{index}]"
        return Rejected(_id_of(event), "bad-event", at, problem.message)
    if app is not None and event["app"] != app:
        message = f"this key writes to {app!r} only; use a key of the event's app"
        return Rejected(_id_of(event), "wrong-app", f"events[{index}].app", message)
    # Mostly there are fewer values than levels, and need not be looked at.
    if values > MAX_DEPTH and _is_too_deep(raw):
        message = f"nested deeper than {MAX_DEPTH} levels; flatten it or send it as a string"
        return Rejected(_id_of(event), "too-deep", f"events[{index}]", message)
    if is_without_app:
        raw = _with_app(raw, app)
    repeated = find_repeated_name(raw, event)
    if repeated:
        at = f"events[{index}].{repeated[:80]}"
        return Rejected(_id_of(event), "bad-event", at, "stands here twice; name it once")
    return ReceivedEvent(raw, event, received_at_us)


def _with_app(raw: bytes, app: str | None) -> bytes:
    """Insert the key's app into the JSON of an event that names none.

    The rest stays as received, byte for byte. A valid event has at least one field, so a field
    follows the comma.
    """
    return b'{"app":%b,%b' % (orjson.dumps(app), raw[1:])


def _id_of(event: Any) -> str | None:
    event_id = event.get("id") if isinstance(event, dict) else None
    return event_id if is_event_id(event_id) else None


def _is_too_deep(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False  # what was counted are commas
    # Over the text, a part at a time: looking through the values took a second of 600,000 lists.
    depth = 0
    for outside, _ in outside_strings(raw):
        depths = [
            *accumulate(map(_DEEPER.__getitem__, outside.translate(None, _FLAT)), initial=depth)
        ]
        if max(depths) > MAX_DEPTH:
            return True
        depth = depths[-1]
    return False


_DEEPER: Final = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1)}
_FLAT: Final = bytes(byte for byte in range(256) if byte not in _DEEPER)
