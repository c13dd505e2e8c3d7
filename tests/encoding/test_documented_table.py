"""Each row of the table in docs/event-format.md is true."""

from __future__ import annotations

import argparse
import ipaddress
import math
import re
from array import array
from collections import ChainMap, UserDict, UserList, UserString, deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import numpy
import pydantic
import pydantic.v1
import pytest

from tests.encoding.values import (
    EVENT_FORMAT,
    Color,
    PointAttrs,
    PointDataclass,
    PointDict,
    PointModel,
    PointTuple,
    SlotsHit,
    SomeClass,
    SomeMapping,
    SomeZone,
    a_cycle,
    nested,
    sqlite_row,
    written,
)


def documented() -> list[tuple[str, str, str]]:
    section = EVENT_FORMAT.read_text().split("## How values are written")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in row) for row in rows if row[0] != "value"]  # type: ignore[misc]


EXAMPLE_NAMES: dict[str, Any] = {
    "UserDict": UserDict,
    "UserList": UserList,
    "UserString": UserString,
    "ChainMap": ChainMap,
    "SomeMapping": SomeMapping,
    "SimpleNamespace": SimpleNamespace,
    "Namespace": argparse.Namespace,
    "SlotsHit": SlotsHit,
    "sqlite_row": sqlite_row,
    "AnyUrl": pydantic.AnyUrl,
    "IPv4Address": ipaddress.IPv4Address,
    "IPv6Network": ipaddress.IPv6Network,
    "Headers": httpx.Headers,
    "re": re,
    "ZoneInfo": ZoneInfo,
    "array": array,
    "math": math,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "UUID": UUID,
    "numpy": numpy,
    "PurePosixPath": PurePosixPath,
    "deque": deque,
    "MappingProxyType": MappingProxyType,
    "datetime": datetime,
    "date": date,
    "timedelta": timedelta,
    "UTC": UTC,
    "time": __import__("datetime").time,
    "SecretStr": pydantic.SecretStr,
    "nested": nested,
    "PointDataclass": PointDataclass,
    "PointAttrs": PointAttrs,
    "PointModel": PointModel,
    "PointTuple": PointTuple,
    "PointDict": PointDict,
    "Color": Color,
    "SomeClass": SomeClass,
    "SomeZone": SomeZone,
    "cycle": a_cycle(),
    "true": True,
    "false": False,
    "null": None,
}


@pytest.mark.parametrize("row", documented(), ids=lambda row: row[0])
def test_each_row_of_the_documented_table_is_true(row: tuple[str, str, str]) -> None:
    _, example, expected = row

    found = written(eval(example.strip("`"), EXAMPLE_NAMES))

    assert found == eval(expected.strip("`"), EXAMPLE_NAMES)


def test_the_documented_table_is_read_whole() -> None:
    assert len(documented()) >= 38
