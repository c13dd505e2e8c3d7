"""The short way to read an attribute gives what the long way gives."""

from __future__ import annotations

import pytest

from sessionbat.server.ingest.otlp.limits import Counted, Unreadable
from sessionbat.server.ingest.otlp.protobuf import Message

ATTRIBUTES = 9
LENGTHS = (0, 1, 100, 125, 126, 127, 128, 129, 16_383, 16_384, 70_000)
NUMBERS = (0, 1, 127, 128, 129, 16_383, 16_384, 2**31, 2**63 - 1, -1, -(2**63))


def varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def read(*attributes: bytes) -> dict[str, object]:
    found: dict[str, object] = {}
    message = Message(b"".join(field(ATTRIBUTES, each) for each in attributes))
    assert message.others(ATTRIBUTES, found, Counted()) == []
    return found


def both_ways(key: str, value: bytes) -> list[dict[str, object]]:
    """Read an attribute as exporters write it, and with its fields the other way round."""
    parts = [field(1, key.encode()), field(2, value)]
    return [read(b"".join(parts)), read(b"".join(reversed(parts)))]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_any_length_is_read(length: int) -> None:
    text = "x" * length
    assert both_ways("key", field(1, text.encode())) == [{"key": text}] * 2


@pytest.mark.parametrize("length", LENGTHS)
def test_a_key_of_any_length_is_read(length: int) -> None:
    key = "k" * length
    assert both_ways(key, field(1, b"said")) == [{key: "said"}] * 2


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_of_any_size_is_read(number: int) -> None:
    written = b"\x18" + varint(number % 2**64)
    assert both_ways("key", written) == [{"key": number}] * 2


@pytest.mark.parametrize("text", ["é" * 64, "日本", "\U0001f600" * 40])
def test_a_text_that_is_not_ascii_is_read(text: str) -> None:
    assert both_ways("clé", field(1, text.encode())) == [{"clé": text}] * 2


@pytest.mark.parametrize("written", [b"", b"\x10\x01", b"\x3a\x01x", b"\x0a\x01a\x18\x05"])
def test_other_values_are_read_field_by_field(written: bytes) -> None:
    one, other = both_ways("key", written)
    assert one == other


def test_a_length_of_three_bytes_that_is_cut_short_is_refused() -> None:
    value = b"\x18\x80\x80"
    with pytest.raises(Unreadable):
        read(field(1, b"key") + field(2, value))


def test_each_attribute_counts_once_whichever_way_it_is_read() -> None:
    counted = Counted()
    many = [field(1, b"a") + field(2, field(1, b"x")), field(2, field(1, b"x")) + field(1, b"b")]
    numbers = [field(1, b"n") + field(2, b"\x18\x05"), field(2, b"\x18\x05") + field(1, b"m")]
    data = b"".join(field(ATTRIBUTES, each) for each in (*many, *numbers))
    Message(data).others(ATTRIBUTES, {}, counted)
    assert counted.taken == 4
