"""What every store promises of feedback: kept and found, and in no count of what the app did."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sessionbat.server.records import EventFilter, ReceivedEvent, SessionFilter
from sessionbat.server.store.opening import Store, check
from tests.conftest import eventually
from tests.contract.store.events import RECEIVED_AT_US, ids, received, summary


def said(id: str, at: str = "12:00:00", **changes: Any) -> ReceivedEvent:
    feedback = {
        name: changes.pop(name) for name in ("score", "comment", "label") if name in changes
    }
    made = received(id, kind="feedback", at=at, feedback=feedback, **changes)
    event = {name: value for name, value in made.event.items() if name != "observation"}
    return ReceivedEvent(json.dumps(event).encode(), event, RECEIVED_AT_US)


def stocked(store: Store) -> None:
    store.append(
        [
            received("e1", at="10:00:00", interaction_id="t1", metrics={"input_tokens": 5}),
            received("e2", at="10:00:01", kind="tool", name="look", interaction_id="t1"),
        ]
    )


def caught_up(store: Store) -> None:
    assert eventually(lambda: not store.measure().events_behind)


def counted(store: Store) -> list[int]:
    caught_up(store)
    day = {"since": datetime(2026, 11, 22, tzinfo=UTC), "until": datetime(2026, 11, 23, tzinfo=UTC)}
    return [each.count for each in store.statistics(by="day", **day)]


def test_feedback_changes_no_count_but_its_own(store: Store) -> None:
    stocked(store)
    before = summary(store)
    store.append([said("f1", score=1, interaction_id="t1"), said("f2", interaction_id="t7")])
    after = summary(store)

    assert after == replace(before, feedback=2, last_at="2026-11-22T12:00:00.000000Z")
    assert counted(store) == [2]
    assert store.count_events() == store.measure().events == 4
    assert [each.events for each in store.measure_apps()] == [4]
    assert [*map(len, [ids(store)])] == [4]


@pytest.mark.parametrize("first", ["feedback", "observation"])
def test_it_counts_no_turn_whichever_comes_first(store: Store, first: str) -> None:
    events = [said("f1", interaction_id="t1"), received("e1", interaction_id="t1")]
    for event in events if first == "feedback" else reversed(events):
        store.append([event])

    assert (summary(store).interactions, summary(store).observations) == (1, 1)


def test_a_session_may_have_nothing_but_feedback(store: Store, url: str) -> None:
    store.append([said("f1", comment="no answer at all")])
    for _ in range(2):
        found = summary(store)
        assert (found.observations, found.feedback, found.events, found.title) == (0, 1, 1, "")
        store.rebuild()
    assert [each.id for each in store.list_feedback("support-bot", "s1")] == ["f1"]
    assert store.delete_sessions([("support-bot", "s1")]).events == 1
    assert store.get_session("support-bot", "s1") is None


def test_a_rebuild_counts_as_arrival_did(store: Store, url: str) -> None:
    stocked(store)
    store.append([said("f1", score=1, tags=["web"])])
    before = summary(store)
    store.rebuild()

    assert summary(store) == before
    assert counted(store) == [2]
    store.close()
    assert [each for each in check(url) if not each.is_well] == []


def test_deleting_in_steps_leaves_right_counts(store: Store) -> None:
    many = [received(f"e{n}", at="10:00:00") for n in range(200)]
    store.append([*many, *(said(f"f{n}", score=0) for n in range(100))])
    caught_up(store)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.delete_sessions([("support-bot", "s1")], on_progress=stop)
    left = store.count_events()
    assert 0 < left < 300
    assert summary(store).events == left
    assert summary(store).feedback == len(store.list_feedback("support-bot", "s1", limit=1000))
    assert sum(counted(store)) == summary(store).observations
    store.delete_sessions([("support-bot", "s1")])
    assert counted(store) == []


def test_its_words_are_found_and_nothing_else_of_it(store: Store) -> None:
    store.append(
        [said("f1", comment="Wonderful Grüße", label="thumbs_up"), said("f2", score=17), said("f3")]
    )
    caught_up(store)
    for words, found in (
        ("wonderful", ["f1"]), ("grusse", ["f1"]), ("thumbs_up", ["f1"]), ("17", []),
    ):  # fmt: skip
        assert [hit.id for hit in store.search(words).items] == found, words
    assert store.search("wonderful").items[0].kind == "feedback"


@pytest.mark.parametrize(
    "feedback",
    [
        {}, {"score": "high", "comment": 5, "label": None}, {"comment": ["a", {"b": "c"}]},
        {"score": 1e308, "observation_id": {}}, {"outcome": [], "extra": {"a": [1, 2]}},
    ],
)  # fmt: skip
def test_whatever_stands_in_it_is_kept_as_it_came(store: Store, feedback: dict[str, Any]) -> None:
    event = {**said("f1").event, "feedback": feedback}
    raw = json.dumps(event).encode()
    store.append([ReceivedEvent(raw, event, RECEIVED_AT_US)])
    caught_up(store)

    assert [each.raw for each in store.list_feedback("support-bot", "s1")] == [raw]
    assert summary(store).feedback == 1
    store.rebuild()
    assert store.delete_sessions([("support-bot", "s1")]).events == 1


def test_the_latest_of_much_feedback_is_listed_oldest_first(store: Store) -> None:
    store.append([said(f"f{n}", at=f"12:00:0{n}") for n in (3, 1, 2, 4)])
    store.append([said("g1", session_id="s2"), said("h1", app="other")])

    assert [each.id for each in store.list_feedback("support-bot", "s1")] == [
        *("f1", "f2", "f3", "f4")
    ]
    latest = store.list_feedback("support-bot", "s1", limit=2)
    assert [each.id for each in latest] == ["f3", "f4"]


def test_sessions_and_exports_can_be_narrowed_to_feedback(store: Store) -> None:
    stocked(store)
    store.append([said("f1", session_id="s2", tags=["web"])])

    where = SessionFilter(kind="feedback", tag="web")
    assert [each.session_id for each in store.list_sessions(where=where).items] == ["s2"]
    assert [each.id for each in store.list_received(EventFilter(kind="feedback")).items] == ["f1"]


def test_an_id_names_one_event_of_a_session_whatever_its_type(store: Store) -> None:
    assert store.append([said("e1"), received("e1"), said("e1", session_id="s2")]) == [
        *(True, False, True)
    ]
    assert (summary(store).feedback, summary(store).observations) == (1, 0)
