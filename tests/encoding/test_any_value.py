"""Any value at all becomes valid JSON within the limit."""

from __future__ import annotations

import ctypes
import random
import sys
from collections import deque
from datetime import UTC
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionbat._encoding import (
    Snapshot,
    encode_value,
)
from sessionbat.event import MAX_EVENT_BYTES, MIN_EVENT_BYTES
from tests.encoding.values import (
    Color,
    PointDataclass,
    SomeClass,
    Trap,
    a_cycle,
    observation_of,
    parsed,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=20,
)


class Slots:
    __slots__ = ("x",)


ODD_LEAVES = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.integers(10**30, 10**50),
    st.text(st.characters()),  # with surrogates
    st.text('\0\x1f"\\\ud800é', max_size=50),
    st.binary(max_size=3000),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.builds(Trap),
    st.builds(a_cycle),
    st.sampled_from([Slots(), Color.RED, Path("/x"), iter(()), range(3), MagicMock(), SomeClass]),
    st.sampled_from([ctypes.c_int(1), sys, print, ValueError("v"), numpy.zeros(2), NotImplemented]),
    st.text(max_size=3).map(lambda text: text * 5000),
)


ODD_KEYS = st.one_of(
    st.text(st.characters(), max_size=5),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(max_size=5),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.builds(Slots),
)


ODD = st.recursive(
    ODD_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(deque)
        | st.dictionaries(ODD_KEYS, inner, max_size=8)
        | inner.map(lambda item: [item] * 10)
        | inner.map(lambda item: PointDataclass(item, item))
        | inner.map(ValueError)
    ),
    max_leaves=15,
)


UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=30)


@given(PLAIN)
@UNHURRIED
def test_any_json_value_is_decoded_as_it_was(value: Any) -> None:
    assert observation_of(input=value)["input"] == value


@given(PLAIN)
@UNHURRIED
def test_a_converted_json_value_is_the_same_as_one_encoded_as_it_stands(value: Any) -> None:
    converted = observation_of(input=value, output=SomeClass())["input"]

    assert converted == value


@given(ODD, st.sampled_from([MIN_EVENT_BYTES, 100_000, MAX_EVENT_BYTES]))
@UNHURRIED
def test_any_value_becomes_valid_json_within_the_limit(value: Any, max_bytes: int) -> None:
    observation_of(
        max_bytes, input=value, output=[value], metadata={"m": value}, metrics={"n": value}
    )


@given(ODD)
@UNHURRIED
def test_a_snapshot_of_any_value_is_the_value_encoded(value: Any) -> None:
    assert Snapshot(value).data == encode_value(value)


@given(ODD, st.integers(200, 5000))
@UNHURRIED
def test_any_value_alone_fits_its_limit(value: Any, max_bytes: int) -> None:
    line = encode_value(value, max_bytes)

    parsed(line)
    assert len(line) <= max_bytes


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_wide_and_ragged_values_fit_every_limit(seed: int) -> None:
    rng = random.Random(seed)

    def ragged(depth: int) -> Any:
        roll = rng.random()
        if depth == 0 or roll < 0.3:
            return rng.choice(["\0", "é", "x", "😀", "\udc00"]) * rng.choice([0, 1, 50, 20_000])
        size = rng.choice([0, 1, 5, 30])
        if roll < 0.6:
            return [ragged(depth - 1) for _ in range(size)]
        keys = [rng.choice(["k", "\0\0", "é" * 400]) + str(n) for n in range(size)]
        return {key: ragged(depth - 1) for key in keys}

    observation_of(MIN_EVENT_BYTES, input=ragged(4), output=ragged(2))
