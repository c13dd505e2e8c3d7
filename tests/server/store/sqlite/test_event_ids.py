"""Ids of events in the file: 32 hexadecimal digits take half the room, any other is as it came."""

from __future__ import annotations

import pytest

from sessionbat.server.store.sqlite.append import pack_id, unpack_id

DIGITS = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "event_id",
    [
        DIGITS.upper(),
        "A" + DIGITS[1:],
        DIGITS[1:],
        DIGITS + "0",
        DIGITS + "00",
        DIGITS[:16],
        f"{DIGITS[:16]} {DIGITS[16:]}",
        f" {DIGITS}",
        f"{DIGITS[:30]} 0",
        "g" + DIGITS[1:],
        "e1",
        "12",
        "",
    ],
)
def test_an_id_of_any_other_form_is_kept_as_it_came(event_id: str) -> None:
    assert pack_id(event_id) == unpack_id(event_id) == event_id


@pytest.mark.parametrize("event_id", [DIGITS, "0" * 32, "f" * 32, "9" * 32])
def test_an_id_of_32_hexadecimal_digits_takes_half_the_room(event_id: str) -> None:
    packed = pack_id(event_id)
    assert isinstance(packed, bytes)
    assert len(packed) == 16
    assert unpack_id(packed) == event_id
