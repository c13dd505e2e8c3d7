"""Fields are read where they are stored, of classes of every kind."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs
import pydantic
import pydantic.v1
import pytest

from sessionbat._encoding import (
    encode_value,
)
from tests.encoding.values import OldModel, SomeClass, parsed, sprung, written


def test_fault_44_fields_are_read_where_they_are_stored() -> None:
    @dataclass(slots=True)
    class Slotted:
        x: int
        unset: int = field(init=False)

        @property
        def y(self) -> int:
            return sprung()

    @attrs.define(slots=False)
    class Attributes:
        x: int
        _private: int = 2

    assert written([Slotted(1), Attributes(1), OldModel(x=3)]) == [
        {"x": 1},
        {"x": 1, "_private": 2},
        {"x": 3},
    ]


def test_fault_44_a_namedtuple_that_lies_about_its_fields_loses_nothing() -> None:
    class Liar(namedtuple("Liar", "a b")):
        _fields = ("a",)

    assert written(Liar(1, 2)) == {"a": 1, "1": 2}


def test_fault_44_secrets_are_masked_also_inside_and_in_subclasses() -> None:
    class Key(pydantic.SecretStr):
        pass

    class Settings(pydantic.BaseModel):
        key: pydantic.SecretStr
        raw: pydantic.SecretBytes

    settings = Settings(key="hunter2", raw=b"hunter2")
    line = encode_value([Key("hunter2"), settings, {Key("hunter2"): 1}, ValueError(Key("hunter2"))])

    assert b"hunter2" not in line
    assert parsed(line)[:2] == ["*" * 10, {"key": "*" * 10, "raw": "*" * 10}]


def test_fault_44_subclasses_of_plain_types_are_their_values() -> None:
    class Text(str):
        __str__ = __repr__ = __len__ = __iter__ = sprung

    class Number(int):
        __int__ = __str__ = __repr__ = __index__ = sprung

    class Real(float):
        __float__ = __str__ = __repr__ = sprung

    class Listed(list):
        __iter__ = __len__ = __getitem__ = sprung

    class Dictionary(dict):
        __iter__ = __len__ = items = keys = values = copy = __getitem__ = sprung

    values = [Text("t"), Number(1), Real(0.5), Listed([1]), Dictionary(a=1), OrderedDict(b=2)]

    assert written(values) == ["t", 1, 0.5, [1], {"a": 1}, {"b": 2}]
    assert written({Text("k"): 1, Number(2): 2}) == {"k": 1, "2": 2}


def test_fault_44_enums_with_odd_values() -> None:
    class Odd(enum.Enum):
        LIST = [1, Decimal(2)]  # noqa: RUF012
        OBJECT = SomeClass()

        @property
        def value(self) -> Any:  # type: ignore[override]
            return sprung()

    class Word(str, enum.Enum):  # noqa: UP042
        HELLO = "hello"

    Odd.LIST._value_.append(Odd.LIST)

    assert written([Odd.LIST, Odd.OBJECT, Word.HELLO, enum.IntEnum("I", "A").A]) == [
        [1, "2", "<cycle>"],
        "<example.SomeClass>",
        "hello",
        1,
    ]


def test_fault_44_datetimes_naive_and_aware_and_of_subclasses() -> None:
    class Moment(datetime):
        isoformat = __str__ = sprung

    zone = pytest.importorskip("zoneinfo").ZoneInfo("UTC")

    assert written(
        [datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=zone), Moment(2026, 1, 2)]
    ) == [
        "2026-01-02T00:00:00",
        "2026-01-02T00:00:00+00:00",
        "2026-01-02T00:00:00",
    ]
