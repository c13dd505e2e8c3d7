"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sessionbat.server.pages.view import units
from sessionbat.server.reading.times import parse_time

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("milliseconds", "written"),
    [
        (0, "0 ms"),
        (0.4, "<1 ms"),
        (820, "820 ms"),
        (999.6, "1.0 s"),
        (2412, "2.4 s"),
        (59_400, "59 s"),
        (65_000, "1 min 5 s"),
        (120_000, "2 min"),
        (3_723_000, "1 h 2 min"),
        (90_000_000, "1 d 1 h"),
        (-5, "-5 ms"),
    ],
)
def test_latency_is_in_the_unit_that_reads_shortest(milliseconds: float, written: str) -> None:
    assert units.latency(milliseconds) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (7, "7"),
        (12403, "12\u202f403"),
        (1e6, "1\u202f000\u202f000"),
        (0.25, "0.25"),
        (1e16, "1e+16"),
    ],
)
def test_counts_have_thin_separators(value: float, written: str) -> None:
    assert units.count(value) == written


@pytest.mark.parametrize(
    ("dollars", "written"), [(0, "$0.00"), (12.5, "$12.50"), (0.0412, "$0.0412"), (2e-7, "$2e-07")]
)
def test_money_keeps_the_digits_that_matter(dollars: float, written: str) -> None:
    assert units.money(dollars) == written


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-90), "just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(hours=25), "yesterday"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=30), "23 Oct"),
        (timedelta(days=400), "18 Oct 2025"),
        (timedelta(days=-2), "24 Nov"),
    ],
)
def test_times_further_away_are_shown_more_coarsely(before: timedelta, said: str) -> None:
    assert units.ago(NOW - before, NOW) == said


@pytest.mark.parametrize(
    "text", ["2026-11-22T16:00:00Z", "2026-11-22T17:00:00+01:00", "2026-11-22T16:00:00"]
)
def test_times_are_read_as_utc(text: str) -> None:
    assert parse_time(text) == NOW


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_none(text: object) -> None:
    assert parse_time(text) is None
