"""Sessions are filtered and sorted by what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sessionbat.server.records import (
    SessionFilter,
)
from sessionbat.server.store.opening import Store, open_store
from tests.contract.store.events import listed, received


@pytest.fixture
def three(store: Store) -> Store:
    """A store with sessions a (9 to 12 o'clock), b (10 o'clock) and c (11 o'clock)."""
    store.append(
        [
            received(
                "a1", session_id="a", at="09:00:00", tags=["beta", "x"], metadata={"model": "m1"},
                context={"user_id": "u1", "environment": "prod"}, metrics={"input_tokens": 100},
            ),
            received(
                "a2", session_id="a", at="12:00:00", kind="tool", name="lookup",
                error={"type": "Timeout"}, metrics={"cost_usd": 0.5, "latency_ms": 900},
            ),
            received(
                "b1", session_id="b", at="10:00:00", tags=["x"], metadata={"model": "m2"},
                context={"user_id": 7, "environment": "prod"}, metrics={"cost_usd": 0.9},
            ),
            received(
                "c1", session_id="c", at="11:00:00", kind="tool", name="refund",
                context={"environment": "test", "user_id": ["no", "label"]},
                metrics={"latency_ms": 20, "output_tokens": 5},
            ),
            received("d1", session_id="d", at="08:00:00", app="other", tags=["x"]),
        ]
    )  # fmt: skip
    return store


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, "a c b"),
        ({"tag": "beta"}, "a"),
        ({"tag": "x"}, "a b"),
        ({"tag": "y"}, ""),
        ({"model": "m2"}, "b"),
        ({"tool": "refund"}, "c"),
        ({"kind": "tool"}, "a c"),
        ({"kind": "llm", "tool": "lookup"}, "a"),
        ({"error": True}, "a"),
        ({"error": False}, "c b"),
        ({"error_type": "Timeout"}, "a"),
        ({"context": (("user_id", "u1"),)}, "a"),
        ({"context": (("user_id", "7"),)}, "b"),
        ({"context": (("environment", "prod"),)}, "a b"),
        ({"context": (("environment", "prod"), ("user_id", "7"))}, "b"),
        ({"min_tokens": 5}, "a c"),
        ({"max_tokens": 5}, "c b"),
        ({"min_cost_usd": 0.5}, "a b"),
        ({"max_cost_usd": 0.5}, "a c"),
        ({"min_latency_ms": 21}, "a"),
        ({"max_latency_ms": 20}, "c b"),
        ({"since": datetime(2026, 11, 22, 11, tzinfo=UTC)}, "a c"),
        ({"until": datetime(2026, 11, 22, 11, tzinfo=UTC)}, "a b"),
        (
            {
                "since": datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
                "until": datetime(2026, 11, 22, 10, 31, tzinfo=UTC),
            },
            "a",
        ),
    ],
)
def test_sessions_are_filtered(three: Store, where: dict[str, Any], expected: str) -> None:
    assert listed(three, app="support-bot", **where) == expected


def test_a_filter_works_over_all_apps(three: Store) -> None:
    assert listed(three, tag="x") == "a b d"


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("last_activity", "a c b"), ("duration", "a c b"), ("cost", "b a c"), ("errors", "a c b")],
)
def test_sessions_are_sorted(three: Store, sort: str, expected: str) -> None:
    assert listed(three, app="support-bot", sort=sort) == expected


@pytest.mark.parametrize("where", [{}, {"tag": "x"}])
@pytest.mark.parametrize("sort", ["last_activity", "duration", "cost", "errors"])
def test_pages_of_every_order_give_each_session_once(
    store: Store, sort: Any, where: dict[str, Any]
) -> None:
    store.append(
        [
            received(f"e{n}", session_id=f"s{n}", tags=["x"], metrics={"cost_usd": n // 2 / 10})
            for n in range(7)
        ]
    )
    asked = {"sort": sort, "where": SessionFilter(**where)}
    whole = [s.session_id for s in store.list_sessions(**asked).items]
    paged, after = list[str](), None
    for _ in range(4):
        page = store.list_sessions(**asked, limit=2, after=after)
        paged += [s.session_id for s in page.items]
        after = page.next
    assert (paged, after, len(set(whole))) == (whole, None, 7)


def test_a_cursor_of_another_order_is_a_value_error(three: Store) -> None:
    cursor = three.list_sessions(sort="cost", limit=1).next
    with pytest.raises(ValueError, match="cursor"):
        three.list_sessions(sort="errors", after=cursor)


def test_an_append_of_many_sessions_labels_each(store: Store) -> None:
    events = [
        received(f"e{n}", session_id=f"s{n}", tags=[f"t{n}"], context={"user_id": f"u{n % 700}"})
        for n in range(1400)
    ]
    store.append(events[:1000])
    store.append(events[600:])
    for n in (0, 99, 650, 699):
        page = store.list_sessions(where=SessionFilter(context=(("user_id", f"u{n}"),)))
        assert {item.session_id for item in page.items} == {f"s{n}", f"s{n + 700}"}
    (only,) = store.list_sessions(where=SessionFilter(tag="t1399")).items
    assert only.session_id == "s1399"


def test_a_label_of_two_apps_in_one_append_is_each_ones_own(store: Store) -> None:
    store.append([received(f"e{app}", app=app, tags=["urgent"]) for app in ("a", "b")])
    for app in ("a", "b"):
        (only,) = store.list_sessions(app=app, where=SessionFilter(tag="urgent")).items
        assert only.app == app
    assert len(store.list_sessions(where=SessionFilter(tag="urgent")).items) == 2


@pytest.mark.slow
def test_a_filter_finds_few_sessions_among_many_and_many_among_many(store: Store) -> None:
    store.append(
        [
            received(f"e{n}", session_id=f"s{n}", context={"user_id": n % 1000, "release": "r1"})
            for n in range(4000)
        ]
    )
    few = store.list_sessions(where=SessionFilter(context=(("user_id", "7"),)), limit=100)
    many = store.list_sessions(where=SessionFilter(context=(("release", "r1"),)), limit=100)
    assert (len(few.items), few.next) == (4, None)
    assert (len(many.items), many.next is None) == (100, False)


def test_further_context_keys_can_be_named(url: str) -> None:
    store = open_store(url, context_keys=["plan"])
    store.append([received("e1", context={"plan": "pro", "other": "x"})])
    assert store.context_keys[-1] == "plan"
    assert listed(store, context=(("plan", "pro"),)) == "s1"
    assert listed(store, context=(("other", "x"),)) == ""
    store.close()


def test_a_context_key_named_later_is_known_of_all_events_after_a_rebuild(url: str) -> None:
    store = open_store(url)
    store.append([received("e1", context={"plan": "pro"})])
    store.close()
    store = open_store(url, context_keys=["plan"])
    store.rebuild()
    assert listed(store, context=(("plan", "pro"),)) == "s1"
    store.close()
