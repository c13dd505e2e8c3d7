"""Numbers, text and bytes that JSON does not know."""

from __future__ import annotations

import io
import math
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from sessionbat._encoding import (
    encode_event,
    encode_value,
)
from sessionbat._encoding.plain_values import MAX_NODES
from tests.encoding.values import OBSERVATION_KEYS, cpu_ms, event_line, parsed, sprung, written


def test_fault_41_numbers_that_json_does_not_know() -> None:
    numbers = [math.nan, math.inf, -math.inf, -0.0, 10**40, Decimal("NaN"), Fraction(4, 2), 1j]

    found = written(numbers)

    assert found == [None, None, None, -0.0, "1" + "0" * 40, "NaN", "2", "1j"]
    assert math.copysign(1, found[3]) == -1


@pytest.mark.parametrize("value", [2**63, -(2**63), 2**64 - 1])
def test_fault_41_integers_of_64_bits_stay_numbers(value: int) -> None:
    assert written(value) == value


def test_fault_41_an_endless_integer_is_not_printed_in_decimal() -> None:
    endless = 10**1_000_000
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        took = cpu_ms(lambda: encode_value({endless: endless}))
    finally:
        sys.set_int_max_str_digits(limit)

    assert took < 100


def test_fault_42_text_becomes_valid_utf_8() -> None:
    text = ["a\ud800b", "\udc00", "\ud83d\ude00", "\0", "שלום", "😀", "\ufeffx", "é"]

    assert written(text) == ["a�b", "�", "😀", "\0", "שלום", "😀", "\ufeffx", "é"]


def test_fault_42_keys_names_and_ids_become_valid_utf_8() -> None:
    envelope = {"type": "llm", "session_id": "\ud800", "app": "\udfff"}
    fields = dict.fromkeys(OBSERVATION_KEYS) | {"name": "n\ud800", "metadata": {}}
    fields |= {"metrics": {}, "input": {"\ud800": "\ud800"}}

    event = parsed(encode_event(envelope, fields))

    assert (event["session_id"], event["app"]) == ("�", "�")
    assert (event["observation"]["name"], event["observation"]["input"]) == ("n�", {"�": "�"})


def test_fault_43_bytes_in_every_form() -> None:
    class Sub(bytes):
        __getitem__ = __len__ = __bytes__ = __buffer__ = sprung

    short = {"type": "bytes", "size": 3, "base64": "YWJj"}

    values = [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        Sub(b"abc"),
        memoryview(b"a-b-c-")[::2],
    ]

    assert written(values) == [short] * 5


def test_fault_43_a_released_memoryview_is_named() -> None:
    view = memoryview(b"abc")
    view.release()

    assert written([view, 1]) == ["<builtins.memoryview>", 1]


def test_fault_43_ten_megabytes_are_not_hashed_whole() -> None:
    took = cpu_ms(lambda: event_line(input=bytes(10_000_000)))

    assert took < 30  # quiet: 0.8 ms
    assert written(bytearray(10_000_000))["size"] == 10_000_000


def test_fault_43_a_bytearray_can_be_resized_while_it_is_recorded() -> None:
    data = bytearray(5_000_000)
    errors: list[BaseException] = []
    stop = threading.Event()

    def resize() -> None:
        try:
            while not stop.is_set():
                data.append(0)
        except BufferError as error:
            errors.append(error)

    thread = threading.Thread(target=resize)
    thread.start()
    for _ in range(200):
        assert written(data)["type"] == "bytes"
    stop.set()
    thread.join()

    assert errors == []


def test_fault_43_a_generator_is_not_consumed() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> Any:
        yield 1

    stream = io.StringIO("line\n")
    counted, mapped = generator(), map(str, [1, 2])

    assert written([counted, mapped, asynchronous(), stream, iter([1])]) == ["<generator>"] * 5
    assert (list(counted), list(mapped), stream.read()) == ([1], ["1", "2"], "line\n")


def test_fault_43_an_endless_range_is_counted_and_not_walked() -> None:
    found = written(range(10**30))

    assert found[:2] == [0, 1]
    assert found[-1] == f"<{10**30 - MAX_NODES} more>"
