"""Events are stored whole, once, and byte for byte as they came."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.records import (
    ReceivedEvent,
    StoredEvent,
)
from sessionbat.server.store.opening import Store, open_store
from tests.contract.store.events import (
    AS_WRITTEN,
    RECEIVED_AT_US,
    found,
    ids,
    received,
    resent,
    searchable,
    summary,
)


def test_an_event_comes_back_byte_for_byte(store: Store) -> None:
    event = received("e1")
    odd = event._replace(raw=b'{ "id":"e1",\t"huge": ' + b"9" * 5_000 + b"}")
    store.append([odd])
    assert store.list_events("support-bot", "s1").items[0].raw == odd.raw


def test_a_decoded_event_keeps_the_digits_of_its_integers(store: Store) -> None:
    event = received("e1")._replace(
        raw=b'{"big": 123456789012345678901, "huge": ' + b"9" * 5_000 + b"}"
    )
    store.append([event])
    decoded = store.list_events("support-bot", "s1").items[0].event
    assert decoded == {"big": 123456789012345678901, "huge": "9" * 5_000}


def test_long_events_come_back_byte_for_byte(store: Store) -> None:
    event = received("e1", metadata={"text": "na " * 1_000_000})
    store.append([event])
    assert store.list_events("support-bot", "s1").items[0].raw == event.raw


@pytest.mark.parametrize("written", AS_WRITTEN)
def test_conversations_that_are_resent_come_back_byte_for_byte(store: Store, written: str) -> None:
    events = [
        each._replace(raw=AS_WRITTEN[written](each.event)) for each in map(resent, range(1, 30))
    ]
    for each in events:
        store.append([each])
    items = store.list_events("support-bot", "s1").items
    assert [item.raw for item in items] == [each.raw for each in events]
    assert store.find_event("support-bot", "s1", "e29") == items[-1]


@pytest.mark.parametrize(
    "messages",
    [
        [1, 2, 3, 4],
        ["same"] * 5,
        [[], {}, None, True, 1.0, 1e100, 2**64, "\n", "\x02\x03"],
        [{"role": "user", "content": "a"}, {"content": "a", "role": "user"}] * 3,
    ],
)
def test_any_list_comes_back_byte_for_byte(store: Store, messages: list[Any]) -> None:
    texts = {"input": messages, "output": {"messages": messages}, "metadata": {"m": messages}}
    for event_id in ("e1", "e2"):
        event = received(event_id, **texts)
        raw = AS_WRITTEN["compact"](event.event)
        store.append([event._replace(raw=raw, event=json.loads(raw))])
        assert store.find_event("support-bot", "s1", event_id) == StoredEvent(event_id, raw)


def test_append_says_which_events_are_new(store: Store) -> None:
    store.append([received("e1")])
    assert store.append([received("e0"), received("e1"), received("e2")]) == [True, False, True]


@pytest.mark.parametrize("id", ["0" * 32, "0198aF" + "0" * 26, "0" * 31, "a" * 64, "7", "x~ 1"])
def test_an_id_of_any_form_comes_back_and_is_known_again(store: Store, id: str) -> None:
    searchable(store, received(id, output="x1"))
    assert store.append([received(id)]) == [False]
    assert (ids(store), found(store, "x1")) == ([id], [id])
    assert store.find_event("support-bot", "s1", id) is not None


def test_an_event_twice_in_one_append_is_new_once(store: Store) -> None:
    assert store.append([received("e1"), received("e1")]) == [True, False]
    assert ids(store) == ["e1"]


def test_an_event_with_the_id_of_another_app_is_new(store: Store) -> None:
    assert store.append([received("e1"), received("e1", app="other")]) == [True, True]


@pytest.mark.parametrize("id", ["agent_turn-1", "0198aa00000070008000000000000000"])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_id_names_one_event_within_its_session(store: Store, id: str, at_once: bool) -> None:
    sessions = ("s1", "s2", "s3")
    events = [received(id, session_id=s, metrics={"output_tokens": 10}) for s in sessions]
    stored = store.append(events) if at_once else [store.append([e])[0] for e in events]
    assert (stored, store.append(events)) == ([True] * 3, [False] * 3)
    assert [ids(store, session) for session in sessions] == [[id]] * 3
    assert [summary(store, session).output_tokens for session in sessions] == [10] * 3
    for each, session in zip(events, sessions, strict=True):
        assert store.find_event("support-bot", session, id) == StoredEvent(id, each.raw)
    assert store.find_event("support-bot", "s4", id) is None


def test_of_two_events_with_one_id_the_first_counts(store: Store) -> None:
    store.append([received("e1", at="10:00:00", interaction_id="i1")])
    others: list[dict[str, Any]] = [
        {"interaction_id": "i2"},
        {"kind": "tool", "name": "lookup"},
        {"at": "11:00:00", "metrics": {"input_tokens": 9}},
    ]
    for other in others:
        assert store.append([received("e1", **other)]) == [False]
    assert summary(store).last_at == "2026-11-22T10:00:00.000000Z"
    assert (summary(store).interactions, summary(store).tool_calls) == (1, 0)


def test_ids_that_differ_in_case_are_two(store: Store) -> None:
    assert store.append([received("Step-a"), received("step-a"), received("ab" * 16)]) == [True] * 3
    assert store.append([received("AB" * 16), received("STEP-A")]) == [True, True]
    assert store.append([received("Step-a"), received("AB" * 16)]) == [False, False]


def same_id_in_two_sessions() -> list[ReceivedEvent]:
    return [
        received("e1", session_id="s1", at="10:00:00", output="locked first"),
        received("e1", session_id="s2", at="10:00:01", output="locked second"),
        received("e1", app="other", at="10:00:02", output="locked third"),
    ]


def test_a_search_finds_the_same_id_in_each_session(store: Store) -> None:
    searchable(store, *same_id_in_two_sessions())
    hits = store.search("locked").items
    assert [(hit.app, hit.session_id, hit.id) for hit in hits] == [
        ("other", "s1", "e1"),
        ("support-bot", "s2", "e1"),
        ("support-bot", "s1", "e1"),
    ]
    assert [hit.snippet for hit in store.search("second").items] == ["locked second"]


def test_deleting_a_session_keeps_the_event_of_that_id_in_another(store: Store) -> None:
    events = same_id_in_two_sessions()
    searchable(store, *events)
    assert store.delete_sessions([("support-bot", "s1")]).events == 1
    assert store.find_event("support-bot", "s1", "e1") is None
    for session, app, event in (
        ("s2", "support-bot", events[1]),
        ("s1", "other", events[2]),
    ):
        assert store.find_event(app, session, "e1") == StoredEvent("e1", event.raw)
    assert store.append(events) == [True, False, False]


def test_a_rebuild_keeps_the_same_id_in_two_sessions(store: Store) -> None:
    events = same_id_in_two_sessions()
    searchable(store, *events)
    before = (store.list_sessions(), store.search("locked").items)
    store.rebuild()
    assert (store.list_sessions(), store.search("locked").items) == before
    assert store.append(events) == [False] * 3


def test_messages_are_shared_within_a_session_although_another_has_its_ids(store: Store) -> None:
    events = [resent(n, session_id=session) for n in range(4, 8) for session in ("s1", "s2")]
    for each in events:
        store.append([each._replace(raw=AS_WRITTEN["compact"](each.event))])
    store.delete_sessions([("support-bot", "s1")])
    raws = [item.raw for item in store.list_events("support-bot", "s2").items]
    assert raws == [AS_WRITTEN["compact"](each.event) for each in events[1::2]]


def test_events_listed_by_one_store_keep_ids_and_sessions_in_another(
    store: Store, tmp_path: Path
) -> None:
    store.append(same_id_in_two_sessions())
    other = open_store(f"sqlite:///{tmp_path / 'other.db'}")
    moved = [
        ReceivedEvent(item.raw, item.event, RECEIVED_AT_US) for item in store.list_received().items
    ]
    assert (other.append(moved), other.append(moved)) == ([True] * 3, [False] * 3)
    assert other.list_sessions() == store.list_sessions()
    other.close()


def test_a_duplicate_adds_nothing_to_its_session(store: Store) -> None:
    event = received("e1", interaction_id="i1", error={"message": "x"}, metrics={"input_tokens": 5})
    store.append([event, event])
    before = summary(store)
    store.append([event])
    assert summary(store) == before
    assert (before.observations, before.errors, before.input_tokens) == (1, 1, 5)


def test_appending_nothing_is_no_error(store: Store) -> None:
    assert store.append([]) == []


def test_an_append_that_fails_stores_nothing_of_it(store: Store) -> None:
    poison = received("e2", session_id="\ud800")
    with pytest.raises(Exception, match=r"surrogates|utf"):
        store.append([received("e1"), poison])
    assert (store.count_events(), store.list_sessions().items, store.list_apps()) == (0, [], [])


def test_a_store_works_on_after_an_append_that_failed(store: Store) -> None:
    with pytest.raises(Exception, match=r"surrogates|utf"):
        store.append([received("e2", session_id="\ud800")])
    assert store.append([received("e1")]) == [True]


def test_stored_events_survive_reopening(url: str) -> None:
    first = open_store(url)
    first.append([received("e1")])
    first.close()
    again = open_store(url)
    assert (ids(again), again.append([received("e1")])) == (["e1"], [False])
    again.close()


def test_many_threads_append_and_each_event_is_stored_once(store: Store) -> None:
    news: list[bool] = []

    def append() -> None:
        for n in range(20):
            news.extend(store.append([received(f"e{n}"), received(f"e{n + 1}")]))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(news), store.count_events(), summary(store).observations) == (21, 21, 21)
