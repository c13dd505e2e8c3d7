"""Arguments of a recording call, as hosts really give them."""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy
import pytest

from sessionbat._encoding.well_formed import (
    MAX_ID_CHARACTERS,
    as_object,
    error_object,
    rfc3339,
    split_metrics,
    usable_id,
    with_model,
)


class Unknown:
    """Says that it is many things, and raises when asked anything."""

    def _refuse(self, *args: object) -> Any:
        raise AssertionError("an unknown class was asked")

    __class__ = property(_refuse)  # type: ignore[assignment]
    __bool__ = __len__ = __iter__ = __str__ = __repr__ = keys = __eq__ = _refuse  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


NAME = f"<{__name__}.Unknown>"


class Text(str):
    __str__ = __len__ = __bool__ = Unknown._refuse  # type: ignore[assignment]


class Plan(enum.Enum):
    A = 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("thread", "thread"),
        (Text("thread"), "thread"),
        (5, "5"),
        (0, "0"),
        (10**40, "1" + "0" * 40),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ("\ud800", "�"),
    ],
    ids=repr,
)
def test_an_id_becomes_text(given: object, expected: str) -> None:
    found = usable_id(given)

    assert found == expected
    assert type(found) is str


@pytest.mark.parametrize("given", ["", Text(""), None, True, 1.5, b"x", [], Plan.A], ids=repr)
def test_what_is_no_id_is_none(given: object) -> None:
    assert usable_id(given) is None


def test_an_unknown_object_is_asked_nothing() -> None:
    assert usable_id(Unknown()) is None
    assert rfc3339(Unknown()) == NAME
    assert split_metrics(Unknown(), None) == ({}, {"metrics": NAME})


def test_long_ids_stay_different() -> None:
    one, other = usable_id("x" * 1000 + "1"), usable_id("x" * 1000 + "2")

    assert one is not None
    assert other is not None
    assert one != other
    assert len(one) == MAX_ID_CHARACTERS


def test_an_error_of_every_kind_is_an_object() -> None:
    assert error_object(ValueError("v")) == {"type": "ValueError", "message": "v"}
    assert error_object(ValueError) == {"type": "ValueError", "message": ""}
    assert error_object("text") == {"type": "Error", "message": "text"}
    assert error_object("") == {"type": "Error", "message": ""}
    assert error_object({"code": 1}) == {"code": 1}
    assert error_object(5) == {"type": "Error", "message": "5"}
    assert error_object(Unknown()) == {"type": "Error", "message": NAME}
    assert error_object(["a"]) == {"type": "Error", "message": "", "value": ["a"]}


class Zone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise AssertionError("an unknown time zone was asked")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("yesterday", "yesterday"),
        (0, "1970-01-01T00:00:00Z"),
        (1.5, "1970-01-01T00:00:01.500000Z"),
        (numpy.float64(1.5), "1970-01-01T00:00:01.500000Z"),
        (datetime(2026, 11, 22, 16, tzinfo=UTC), "2026-11-22T16:00:00Z"),
        (datetime(2026, 11, 22, 16, tzinfo=timezone(timedelta(hours=2))), "2026-11-22T14:00:00Z"),
        (datetime(2026, 11, 22, tzinfo=Zone()), f"2026-11-22T00:00:00<{__name__}.Zone>"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "0001-01-01T00:00:00+02:00"),
        (1e300, 1e300),
        (True, True),
    ],
)
def test_a_moment_is_written_in_utc_or_stays_visible(given: object, expected: object) -> None:
    assert rfc3339(given) == expected


def test_a_naive_datetime_is_local_time() -> None:
    moment = datetime(2026, 11, 22, 16)

    assert rfc3339(moment) == moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def test_the_model_joins_the_metadata_and_wins() -> None:
    assert with_model(None, "m") == {"model": "m"}
    assert with_model({"model": "old", "a": 1}, "m") == {"model": "m", "a": 1}
    assert with_model([1], "m") == {"metadata": [1], "model": "m"}
    assert with_model(Unknown(), "m") == {"metadata": NAME, "model": "m"}
    assert with_model({"a": 1}, None) == {"a": 1}


def test_the_hosts_metadata_is_not_changed() -> None:
    metadata = {"a": 1}

    with_model(metadata, "m")

    assert metadata == {"a": 1}


def test_finite_numbers_are_metrics() -> None:
    given = {"a": 1, "b": 0.5, "c": -1}

    assert split_metrics(given, {"m": 1}) == (given, {"m": 1})


def test_metrics_are_a_copy() -> None:
    given = {"a": 1}

    metrics, _ = split_metrics(given, {})
    given["a"] = 2

    assert metrics == {"a": 1}


def test_anything_else_in_metrics_moves_to_metadata() -> None:
    given = {"nan": math.nan, "text": "x", "flag": True, "none": None, "wide": 10**40, "ok": 1}

    metrics, metadata = split_metrics(given | {"inf": math.inf, "object": Unknown()}, {"m": 1})

    assert metrics["ok"] == 1
    assert metadata["m"] == 1
    assert metadata["text"] == "x"
    assert metadata["flag"] is True
    assert metadata["object"] == NAME
    assert {"nan", "none", "inf"} <= metadata.keys()


def test_a_moved_metric_does_not_hide_metadata_of_the_same_name() -> None:
    _, metadata = split_metrics({"note": "metric"}, {"note": "words"})

    assert metadata == {"note": "words", "metrics.note": "metric"}


def test_decimals_fractions_and_numpy_numbers_are_metrics() -> None:
    given = {"a": Decimal("0.25"), "b": Fraction(1, 2), "c": numpy.int64(3), "d": Decimal("NaN")}

    assert split_metrics(given, None) == ({"a": 0.25, "b": 0.5, "c": 3}, {"d": "NaN"})


@pytest.mark.parametrize("given", [[1], "fast", None])
def test_metrics_that_are_no_object_are_kept_in_metadata(given: object) -> None:
    metrics, metadata = split_metrics(given, None)

    assert metrics == {}
    assert metadata == ({} if given is None else {"metrics": given})


def test_as_object_takes_what_has_fields() -> None:
    assert as_object({"a": 1}, "x") == {"a": 1}
    assert as_object(None, "x") == {}
    assert as_object(5, "x") == {"x": 5}
