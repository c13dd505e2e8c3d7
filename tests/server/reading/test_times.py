"""Times as text: all of RFC 3339 is read; what is none is stored, counted and said."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from sessionbat.server.reading.times import has_readable_time, read_time
from tests.server.wire import Wire, event

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01t12:00:00z",
        "2026-01-01T12:00:00z",
        "2026-01-01 12:00:00Z",
        "2026-01-01 12:00:00 +00:00",
        "2026-01-01 12:00:00 z",
        "2026-01-01T12:00:00",
        "2026-01-01T12:00:00-00:00",
        "2026-01-01T17:30:00+05:30",
        "2026-01-01T17:30:00+0530",
        "2026-01-01t17:00:00+05",
        "2026-01-01T12:00:00.000000000Z",
        "2026-01-01t12:00:00.0000000000z",
        "2026-01-01T12:00:00,000Z",
        "2026-01-01T11:59:60Z",
        "2026-01-01t11:59:60.000z",
        "2026-01-01 16:59:60+05:00",
        "20260101T120000Z",
        "2026-W01-4T12:00:00Z",
        " 2026-01-01T12:00:00Z\n",
    ],
)
def test_noon_in_every_way_to_write_it(text: str) -> None:
    assert read_time(text) == NOON
    assert has_readable_time(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31t23:59:60.25z", datetime(2017, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("2025-12-31T24:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01t12:00:00.1234567z", NOON.replace(microsecond=123_456)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_leap_second_is_the_next_minute_and_others_what_they_say(
    text: str, expected: datetime
) -> None:
    assert read_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T12:00:61Z",
        "2026-01-01T12:60:60Z",
        "1767268800",
        "2026-01-01T12:00:00 Europe/Berlin",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31t23:59:60z",
        "2026-01-01T12:00:60Z" + " " * 10_000_000,
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text) is None
    assert not has_readable_time(text)


@pytest.mark.parametrize("value", [None, 1767268800, True, "1969-12-31T23:59:59Z", "9999-01-01"])
def test_what_cannot_place_an_event(value: Any) -> None:
    assert not has_readable_time(value)


def test_a_time_in_lower_case_places_its_event(server: Wire) -> None:
    for name, created_at in (("b", "2026-01-01t12:00:01z"), ("a", "2026-01-01T11:59:60Z")):
        server.send({**event(name), "created_at": created_at})

    listed = server.get("/api/v1/sessions").json["items"]
    assert listed[0]["first_at"] == "2026-01-01T12:00:00.000000Z"
    assert listed[0]["last_at"] == "2026-01-01T12:00:01.000000Z"


def test_an_unreadable_time_is_stored_counted_logged_and_shown(
    server: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    late = {**event("e1"), "created_at": "last tuesday"}
    missing = {name: value for name, value in event("e2").items() if name != "created_at"}
    with caplog.at_level(logging.INFO):
        server.send([late, missing])

    assert server.stored() == [late, missing]
    text = server.get("/metrics").body.decode()
    assert "\nsessionbat_events_untimed_total 1\n" in text
    assert caplog.text.count("[unreadable-time]") == 1
    assert "last tuesday" not in caplog.text
    page = server.get("/session", app=late["app"], id=late["session_id"]).body.decode()
    assert "last tuesday (cannot be read as a time)" in page
