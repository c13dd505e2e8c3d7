"""Keys of any kind become texts that stay distinct."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from sessionbat._encoding import (
    encode_value,
)
from tests.encoding.values import Color, SomeClass, cpu_ms, written


def test_fault_50_keys_that_are_no_strings_stay_distinct() -> None:
    keys = {1: "int", "1": "str", 1.5: "float", "1.5": "s", None: "none", "None": "s", "True": "s"}

    assert written(keys) == {
        "1": "int",
        "1#2": "str",
        "1.5": "float",
        "1.5#2": "s",
        "None": "none",
        "None#2": "s",
        "True": "s",
    }


def test_fault_50_keys_of_every_kind_get_a_text() -> None:
    keys = [b"b", (1, "a"), (), Color.RED, date(2026, 1, 2), UUID(int=0), Decimal(1), 10**5000]

    found = list(written(dict.fromkeys(keys)))

    assert found[:5] == ["b'b'", "(1, 'a')", "()", "red", "2026-01-02"]
    assert found[6] == "1"
    assert found[7].startswith("0x")


def test_fault_50_thousands_of_equal_keys_take_no_more_than_their_number() -> None:
    few = {SomeClass(): n for n in range(1_000)}
    many = {SomeClass(): n for n in range(10_000)}

    ratio = cpu_ms(lambda: encode_value(many)) / cpu_ms(lambda: encode_value(few))

    assert ratio < 50  # ten times as many; one by one it would be a hundred times as much
    assert len(written(many)) == 10_000
