"""A ``started_at`` as it is given → UTC, in the hour that a clock change repeats as well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sessionbat.testing import Recording

NEW_YORK = "America/New_York"


class Moment(datetime):
    """A class of the host's own."""


@pytest.fixture
def _in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", NEW_YORK)
        time.tzset()
        yield
    time.tzset()


def started_at(given: Any) -> Any:
    recording = Recording()
    recording.client.session().interaction().llm(started_at=given)
    return recording.only()["observation"]["started_at"]


@pytest.mark.usefixtures("_in_new_york")
@pytest.mark.parametrize("kind", [datetime, Moment])
@pytest.mark.parametrize(
    ("hour", "fold", "expected"),
    [
        ((2026, 11, 1, 1, 30), 0, "2026-11-01T05:30:00Z"),  # comes twice
        ((2026, 11, 1, 1, 30), 1, "2026-11-01T06:30:00Z"),
        ((2026, 11, 1, 2, 0), 1, "2026-11-01T07:00:00Z"),  # comes once
    ],
)
def test_a_naive_time_is_local_and_its_fold_counts(
    kind: type[datetime], hour: tuple[int, ...], fold: int, expected: str
) -> None:
    assert started_at(kind(*hour, fold=fold)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=ZoneInfo(NEW_YORK)), "2026-11-01T06:30:00Z"),
        (datetime(2026, 11, 1, 1, 30, fold=0, tzinfo=ZoneInfo(NEW_YORK)), "2026-11-01T05:30:00Z"),
        (datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=UTC), "2026-11-01T01:30:00Z"),
        (
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2025-12-31T18:30:00Z",
        ),
        (1_767_225_600.5, "2026-01-01T00:00:00.500000Z"),
        ("yesterday", "yesterday"),
    ],
)
def test_a_time_with_a_zone_says_itself_when_it_is(given: Any, expected: str) -> None:
    assert started_at(given) == expected


@pytest.mark.usefixtures("_in_new_york")
def test_a_time_of_pandas_keeps_its_fold() -> None:
    pandas = pytest.importorskip("pandas")
    given = pandas.Timestamp("2026-11-01 01:30").replace(fold=1)
    assert started_at(given) == "2026-11-01T06:30:00Z"
