"""Clocks that are wrong: an event is active no later than it was received."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionbat.server.store.opening import Store
from tests.contract.store.events import (
    DAY,
    RECEIVED_AT_US,
    ids,
    received,
    searchable,
    summary,
    two_sessions,
)

RECEIVED_AT = "2026-11-23T18:00:00.000000Z"


AHEAD = [
    "2026-11-23T18:00:00.000001Z",
    "2027-01-01T00:00:00Z",
    "2261-01-01T00:00:00Z",
    "9998-12-31",
]


@pytest.mark.parametrize("ahead", AHEAD)
def test_an_event_counts_as_active_no_later_than_it_was_received(store: Store, ahead: str) -> None:
    searchable(
        store,
        received("e1", created_at=ahead),
        received("e2", at="10:00:00"),
        received("e3", session_id="s2", created_at=ahead),
        received("e4", session_id="s3", created_at="1970-01-01T00:00:00Z"),
    )
    assert (summary(store).first_at, summary(store).last_at) == (
        "2026-11-22T10:00:00.000000Z",
        RECEIVED_AT,
    )
    assert (summary(store, "s2").first_at, summary(store, "s2").last_at) == (RECEIVED_AT,) * 2
    assert summary(store, "s3").last_at == "1970-01-01T00:00:00.000000Z"
    # In the session it stands where it says, and says what it did.
    assert ids(store) == ["e2", "e1"]
    assert store.list_events("support-bot", "s1").items[1].event["created_at"] == ahead


def test_a_session_with_a_future_time_does_not_stay_first_in_the_list(store: Store) -> None:
    store.append([received("e1", session_id="ahead", created_at=AHEAD[2])])
    later = received("e2", session_id="later", created_at=None)
    store.append([later._replace(received_at_us=RECEIVED_AT_US + 1)])
    assert [each.session_id for each in store.list_sessions().items] == ["later", "ahead"]
    assert [each.session_id for each in store.list_idle_sessions()] == ["ahead", "later"]


@pytest.mark.parametrize("by", ["hour", "day"])
def test_statistics_up_to_now_include_events_with_a_future_time(store: Store, by: Any) -> None:
    searchable(store, *(received(f"e{n}", created_at=at) for n, at in enumerate(AHEAD)))
    received_on = DAY + timedelta(days=1)
    (counted,) = store.statistics(by=by, since=received_on, until=received_on + timedelta(days=1))
    assert counted.count == len(AHEAD) + 1  # and what marks that all are counted
    store.delete_sessions([("support-bot", "s1")])
    (counted,) = store.statistics(by=by, since=received_on, until=received_on + timedelta(days=1))
    assert counted.count == 1


def test_a_rebuild_and_a_partial_deletion_know_when_an_event_was_received(store: Store) -> None:
    events = [received(f"e{n}", created_at=AHEAD[2]) for n in range(300)]
    store.append([*events, received("last", at="10:00:00")])
    store.rebuild()
    assert summary(store).last_at == RECEIVED_AT

    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        store.delete_sessions([("support-bot", "s1")], on_progress=stop)
    assert 0 < summary(store).observations < 301
    assert (summary(store).first_at, summary(store).last_at) == (RECEIVED_AT,) * 2


def test_an_apps_part_of_the_store_is_that_of_the_events_it_has(store: Store) -> None:
    leaving, staying = two_sessions()
    store.append(staying)
    before = store.measure_apps()
    assert {each.app: each.events for each in before} == {"support-bot": 2, "other": 3}
    assert all(each.bytes > 0 for each in before)
    store.append([*leaving, *leaving, *staying])
    store.rebuild()
    (grown,) = (each for each in store.measure_apps() if each.app == "support-bot")
    assert grown.bytes > before[0].bytes
    store.delete_sessions([("support-bot", "s1")])
    assert store.measure_apps() == before
