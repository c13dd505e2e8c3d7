"""Events are given in the order of their arrival, for export."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionbat.server.records import (
    EventFilter,
)
from sessionbat.server.store.opening import Store
from tests.contract.store.events import DAY, RECEIVED_AT_US, received


def test_a_clock_set_back_costs_no_event_and_no_order_of_arrival(store: Store) -> None:
    hour_us = 3_600_000_000
    for number, back in enumerate([0, 1, 3, 2]):
        event = received(f"e{number}", session_id=f"s{number}", created_at=None)
        store.append([event._replace(received_at_us=RECEIVED_AT_US - back * hour_us)])
    first = store.list_received(limit=3)
    rest = store.list_received(limit=3, after=first.next)
    assert [item.id for item in (*first.items, *rest.items)] == ["e0", "e1", "e2", "e3"]
    latest_first = [item.session_id for item in store.list_sessions().items]
    assert latest_first == ["s0", "s1", "s3", "s2"]
    idle = store.list_idle_sessions(before=DAY + timedelta(days=1, hours=17))
    assert [item.session_id for item in idle] == ["s2", "s3"]


def test_events_are_listed_in_the_order_they_were_received(store: Store) -> None:
    store.append([received("b", at="12:00:00"), received("a", session_id="s2", at="10:00:00")])
    store.append([received("c", app="other", at="11:00:00")])
    pages, after = list[str](), None
    while True:
        page = store.list_received(limit=2, after=after)
        pages += [item.id for item in page.items]
        after = page.next
        if after is None:
            break
    assert pages == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"app": "other"}, "d"),
        ({"session_id": "s2"}, "b"),
        ({"user_id": "ann"}, "ac"),  # c says nothing of a user, its session does
        ({"kind": "tool"}, "c"),
        ({"error": True}, "b"),
        ({"error": False, "app": "support-bot"}, "ac"),
        ({"since": DAY + timedelta(hours=11), "until": DAY + timedelta(hours=12)}, "b"),
        ({"user_id": "nobody"}, ""),
    ],
)
def test_events_received_are_filtered(store: Store, where: dict[str, Any], ids: str) -> None:
    store.append(
        [
            received("a", at="10:00:00", context={"user_id": "ann"}),
            received("b", session_id="s2", at="11:00:00", error="x"),
            received("c", kind="tool", at="12:00:00"),
            received("d", app="other", session_id="s4", at="13:00:00"),
        ]
    )
    found = store.list_received(EventFilter(**where)).items
    assert "".join(item.id for item in found) == ids
