"""What every store promises: the suite that a further store joins with one line in STORES."""

from __future__ import annotations

import json
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.records import (
    EventFilter,
    ReceivedEvent,
    Removed,
    SessionFilter,
    SessionSummary,
    Statistic,
    StoredEvent,
    StoredKey,
)
from sessionbat.server.store.opening import Store, open_store, store_exists

#: A name and the URL of an empty store, given a directory of the test's own.
STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda directory: f"sqlite:///{directory / 'store.db'}",
}

OF_THE_OBSERVATION = ("name", "input", "output", "error", "metrics", "metadata")
RECEIVED_AT_US = 1_795_456_800_000_000  # 2026-11-23T18:00:00Z


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def received(id: str, *, kind: str = "llm", at: str | None = None, **changes: Any) -> ReceivedEvent:
    """Make an event as ingestion hands it over; ``at`` is a time of 2026-11-22."""
    observation = {name: changes.pop(name) for name in OF_THE_OBSERVATION if name in changes}
    event = {
        "type": kind,
        "id": id,
        "app": "support-bot",
        "session_id": "s1",
        "created_at": at and f"2026-11-22T{at}Z",
        "observation": {"kind": kind, **observation},
        **changes,
    }
    return ReceivedEvent(json.dumps(event).encode(), event, RECEIVED_AT_US)


def ids(store: Store, session_id: str = "s1", app: str = "support-bot") -> list[str]:
    return [item.id for item in store.list_events(app, session_id, limit=1000).items]


def summary(store: Store, session_id: str = "s1", app: str = "support-bot") -> SessionSummary:
    found = store.get_session(app, session_id)
    assert found is not None
    return found


# Storing


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


def resent(n: int, **changes: Any) -> ReceivedEvent:
    """Make the n-th model call of an agent that sends its whole conversation each time."""
    messages = [{"role": "user", "content": f"word{m} Grüße 🦇"} for m in range(n)]
    return received(f"e{n}", at=f"10:00:{n:02}", input={"messages": messages}, **changes)


AS_WRITTEN: dict[str, Callable[[Any], bytes]] = {
    "compact": lambda event: json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(),
    "spaced": lambda event: json.dumps(event).encode(),
    "indented": lambda event: json.dumps(event, indent=1).encode(),
    "escaped": lambda event: json.dumps(event, separators=(",", ":")).encode(),
}


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


def test_what_one_store_lists_another_takes_with_the_same_ids_and_sessions(
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


def test_what_was_stored_is_there_after_opening_again(url: str) -> None:
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


# Summing up


def test_a_session_counts_its_observations_by_kind(store: Store) -> None:
    kinds = ["llm", "llm", "llm", "tool", "tool", "retrieval", "something-new"]
    store.append([received(f"e{n}", kind=kind) for n, kind in enumerate(kinds)])
    found = summary(store)
    assert found.observations == 7
    assert (found.llm_calls, found.tool_calls, found.retrievals) == (3, 2, 1)


def test_an_error_is_an_observation_whose_error_is_not_null(store: Store) -> None:
    errors: list[Any] = [None, {"message": "x"}, "text", {}, ""]
    store.append([received(f"e{n}", error=error) for n, error in enumerate(errors)])
    assert summary(store).errors == 4


def test_interactions_are_counted_once_each_over_several_appends(store: Store) -> None:
    store.append([received("e1", interaction_id="i1"), received("e2", interaction_id="i2")])
    store.append([received("e3", interaction_id="i2"), received("e4", interaction_id="i3")])
    assert summary(store).interactions == 3


@pytest.mark.parametrize("none", [None, ""])
def test_no_interaction_id_is_no_interaction(store: Store, none: str | None) -> None:
    store.append([received("e1", interaction_id=none)])
    assert summary(store).interactions == 0


def test_the_same_interaction_id_in_two_sessions_counts_in_both(store: Store) -> None:
    store.append([received(s, session_id=s, interaction_id="i1") for s in ("s1", "s2")])
    assert [summary(store, s).interactions for s in ("s1", "s2")] == [1, 1]


def test_tokens_are_summed_over_several_appends(store: Store) -> None:
    store.append([received("e1", metrics={"input_tokens": 100, "output_tokens": 7})])
    store.append([received("e2", metrics={"input_tokens": 20.0})])
    assert (summary(store).input_tokens, summary(store).output_tokens) == (120, 7)


@pytest.mark.parametrize("value", [None, "7", True, -1, 10**9 + 1, 1e300, 2**64 - 1, [7], {}])
def test_tokens_that_are_no_sane_number_do_not_count(store: Store, value: object) -> None:
    store.append([received("e1", metrics={"input_tokens": value})])
    assert summary(store).input_tokens == 0


def test_first_and_last_are_of_the_events_whatever_their_order(store: Store) -> None:
    store.append([received("e1", at="12:00:00"), received("e2", at="09:00:00.5")])
    store.append([received("e3", at="11:00:00")])
    assert summary(store).first_at == "2026-11-22T09:00:00.500000Z"
    assert summary(store).last_at == "2026-11-22T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("created_at", "utc"),
    [
        ("2026-11-22T16:00:00.123456Z", "2026-11-22T16:00:00.123456Z"),
        ("2026-11-22T16:00:00+02:00", "2026-11-22T14:00:00.000000Z"),
        ("2026-11-22T16:00:00.123456789Z", "2026-11-22T16:00:00.123456Z"),
        ("2026-11-22T16:00:00", "2026-11-22T16:00:00.000000Z"),
        (None, "2026-11-23T18:00:00.000000Z"),
        ("yesterday", "2026-11-23T18:00:00.000000Z"),
        ("1492-10-12T00:00:00Z", "2026-11-23T18:00:00.000000Z"),
        ("9999-12-31T23:59:59-14:00", "2026-11-23T18:00:00.000000Z"),
        ("0001-01-01T00:00:00+14:00", "2026-11-23T18:00:00.000000Z"),
    ],
)
def test_an_events_time_is_its_created_at_else_that_of_receipt(
    store: Store, created_at: str | None, utc: str
) -> None:
    store.append([received("e1", created_at=created_at)])
    assert summary(store).first_at == utc


def test_the_cost_is_summed_without_drift(store: Store) -> None:
    store.append([received(f"e{n}", metrics={"cost_usd": 0.1}) for n in range(3)])
    assert summary(store).cost_usd == 0.3


@pytest.mark.parametrize("value", [None, "7", True, -1, 10**6 + 1, 1e300, [7]])
def test_a_cost_that_is_no_sane_number_does_not_count(store: Store, value: object) -> None:
    store.append([received("e1", metrics={"cost_usd": value})])
    assert summary(store).cost_usd == 0


def said(id: str, words: str, **changes: Any) -> ReceivedEvent:
    """Make a model call in which a user says something."""
    return received(id, input={"messages": [{"role": "user", "content": words}]}, **changes)


def test_a_session_is_called_by_its_users_first_words(store: Store) -> None:
    store.append([said("e2", "Second", at="10:00:02"), said("e1", "First", at="10:00:01")])
    assert summary(store).title == "First"


def test_first_words_that_arrive_late_name_the_session_still(store: Store) -> None:
    store.append([said("e2", "Second", at="10:00:02")])
    store.append([said("e1", "First", at="10:00:01")])
    store.append([said("e3", "Third", at="10:00:03")])
    assert summary(store).title == "First"


def test_what_was_looked_for_names_a_session_until_a_user_speaks(store: Store) -> None:
    store.append([received("e1", kind="retrieval", at="10:00:01", input={"query": "locked"})])
    assert summary(store).title == "locked"
    store.append([said("e2", "I am locked out", at="10:00:02")])
    assert summary(store).title == "I am locked out"


def test_a_long_title_is_cut_at_a_word(store: Store) -> None:
    store.append([said("e1", "wörter " * 100)])
    title = summary(store).title
    assert len(title) <= 91
    assert title.endswith("wörter…")


# Asking


def test_there_is_nothing_in_an_empty_store(store: Store) -> None:
    assert store.get_session("support-bot", "s1") is None
    assert store.list_sessions().items == []
    assert store.list_events("support-bot", "s1").items == []
    assert (store.list_apps(), store.count_events()) == ([], 0)


def test_sessions_are_listed_latest_activity_first(store: Store) -> None:
    for session_id, at in [("s1", "10:00:00"), ("s2", "12:00:00"), ("s3", "11:00:00")]:
        store.append([received(session_id, session_id=session_id, at=at)])
    store.append([received("later", session_id="s1", at="13:00:00")])
    assert [s.session_id for s in store.list_sessions().items] == ["s1", "s2", "s3"]


def test_sessions_are_listed_of_one_app_or_of_all(store: Store) -> None:
    store.append([received("e1", app="one"), received("e2", app="two")])
    assert [s.app for s in store.list_sessions(app="two").items] == ["two"]
    assert len(store.list_sessions().items) == 2
    assert store.list_sessions(app="three").items == []


@pytest.mark.parametrize("app", [None, "support-bot"])
def test_pages_of_sessions_give_each_once_and_end(store: Store, app: str | None) -> None:
    # Two of each time: a cursor that knew the time only would skip or repeat one.
    store.append([received(f"e{n}", session_id=f"s{n}", at=f"10:00:0{n // 2}") for n in range(7)])
    whole = [s.session_id for s in store.list_sessions(app=app).items]
    paged, after = list[str](), None
    for _ in range(4):
        page = store.list_sessions(app=app, limit=2, after=after)
        paged += [s.session_id for s in page.items]
        after = page.next
    assert (paged, after) == (whole, None)
    assert len(set(whole)) == 7


def test_a_full_last_page_of_sessions_has_no_next(store: Store) -> None:
    store.append([received(f"e{n}", session_id=f"s{n}") for n in range(4)])
    page = store.list_sessions(limit=4)
    assert (len(page.items), page.next) == (4, None)


def test_events_are_listed_oldest_first_and_equal_times_as_received(store: Store) -> None:
    store.append([received("noon", at="12:00:00"), received("ten-a", at="10:00:00")])
    store.append([received("ten-b", at="10:00:00"), received("eleven", at="11:00:00")])
    assert ids(store) == ["ten-a", "ten-b", "eleven", "noon"]


def test_events_are_listed_of_their_session_only(store: Store) -> None:
    store.append([received("e1"), received("e2", session_id="s2"), received("e3", app="other")])
    assert ids(store) == ["e1"]


def test_pages_of_events_give_each_once_and_end(store: Store) -> None:
    # Each page ends between two of one time.
    store.append([received(f"e{n}", at=f"10:00:0{(n + 1) // 2}") for n in range(7)])
    paged, after = list[str](), None
    for _ in range(4):
        page = store.list_events("support-bot", "s1", limit=2, after=after)
        paged += [item.id for item in page.items]
        after = page.next
    assert (paged, after) == ([f"e{n}" for n in range(7)], None)


def test_a_full_last_page_of_events_has_no_next(store: Store) -> None:
    store.append([received(f"e{n}") for n in range(4)])
    page = store.list_events("support-bot", "s1", limit=4)
    assert (len(page.items), page.next) == (4, None)


def test_a_page_of_large_events_ends_early_and_goes_on(store: Store) -> None:
    large = {"text": "na " * 1_500_000}
    store.append([received(f"e{n}", metadata=large) for n in range(5)])
    sizes, after = list[int](), ""
    while after is not None:
        page = store.list_events("support-bot", "s1", after=after or None)
        sizes.append(len(page.items))
        after = page.next
    assert sum(sizes) == 5
    assert max(sizes) < 5


@pytest.mark.parametrize("after", ["", "x", "1", "1-", "1-2-3", "9" * 40 + "-1", "١-٢", "-1-1"])
def test_a_cursor_of_no_store_is_a_value_error(store: Store, after: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        store.list_sessions(after=after)
    with pytest.raises(ValueError, match="cursor"):
        store.list_events("support-bot", "s1", after=after)


def test_one_event_is_found_by_its_id(store: Store) -> None:
    store.append([received("e1"), received("e2"), received("e2", app="other")])
    found = store.find_event("support-bot", "s1", "e2")
    assert found == store.list_events("support-bot", "s1").items[1]


@pytest.mark.parametrize("asked", [("other", "s1"), ("support-bot", "s2")])
def test_an_event_is_found_in_its_own_app_and_session_only(
    store: Store, asked: tuple[str, str]
) -> None:
    store.append([received("e1"), received("e2", session_id="s2"), received("e3", app="other")])
    assert store.find_event(*asked, "e1") is None


def test_apps_are_named_in_alphabetical_order(store: Store) -> None:
    store.append([received("e1", app=app) for app in ("b", "c", "a", "b")])
    assert store.list_apps() == ["a", "b", "c"]


def test_events_are_counted(store: Store) -> None:
    store.append([received(f"e{n}", session_id=f"s{n % 2}") for n in range(5)])
    assert store.count_events() == 5


def test_readers_see_what_was_appended_while_they_read(store: Store) -> None:
    stop = threading.Event()
    wrong: list[int] = []

    def read() -> None:
        while not stop.is_set():
            found = store.get_session("support-bot", "s1")
            if found and found.observations % 10:
                wrong.append(found.observations)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(0, 200, 10):
        store.append([received(f"e{m}") for m in range(n, n + 10)])
    stop.set()
    reader.join()
    assert wrong == []


# Closing


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    for call in (
        lambda: store.append([received("e1")]),
        store.list_sessions,
        store.count_events,
        store.has_keys,
        store.list_keys,
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_closing_twice_is_no_error(store: Store) -> None:
    store.close()
    store.close()


# Filtering and sorting


def listed(
    store: Store, *, app: str | None = None, sort: Any = "last_activity", **where: Any
) -> str:
    """Give the ids of the sessions listed, with spaces between."""
    page = store.list_sessions(app=app, sort=sort, where=SessionFilter(**where))
    return " ".join(session.session_id for session in page.items)


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


# Searching


def found(store: Store, query: str, count: int = 1, **asked: Any) -> list[str]:
    """Search until there are ``count`` results or two seconds are over; give their ids."""
    deadline = time.monotonic() + 2
    while True:
        hits = [hit.id for hit in store.search(query, **asked).items]
        if len(hits) >= count or time.monotonic() > deadline:
            return hits
        time.sleep(0.01)


def searchable(store: Store, *events: ReceivedEvent) -> None:
    """Append events, and one that can be found when all can."""
    marker = f"marker{len(events)}{store.count_events()}"
    store.append([*events, received(marker, session_id="marker", output=marker)])
    assert found(store, marker) == [marker]


def test_what_was_appended_is_found_within_two_seconds(store: Store) -> None:
    store.append([received("e1", output={"text": "Use the reset link."})])
    assert found(store, "reset") == ["e1"]


def test_a_search_looks_at_what_went_in_and_out_and_wrong_and_at_the_tools_name(
    store: Store,
) -> None:
    searchable(
        store,
        received("e1", input={"a": [{"b": "inbound"}]}),
        received("e2", output="outbound"),
        received("e3", error={"type": "TimeoutError", "message": "nobody home"}),
        received("e4", kind="tool", name="lookup_account"),
        received("e5", input={"order": 4711}),
    )
    words = ["inbound", "outbound", "nobody", "lookup", "4711"]
    assert [found(store, word) for word in words] == [[f"e{n}"] for n in range(1, 6)]


def test_all_words_have_to_be_there_in_any_order_and_spelling_of_case(store: Store) -> None:
    searchable(store, received("e1", output="Reset your password"), received("e2", output="reset"))
    assert found(store, "PASSWORD reset") == ["e1"]


def test_a_phrase_is_words_next_to_each_other(store: Store) -> None:
    searchable(
        store, received("e1", output="the reset link"), received("e2", output="link the reset")
    )
    assert found(store, '"reset link"') == ["e1"]


def test_a_star_finds_words_that_go_on(store: Store) -> None:
    searchable(store, received("e1", output="passwords"), received("e2", output="passport"))
    assert found(store, "passw*") == ["e1"]
    assert found(store, "pass*", 2) == ["e2", "e1"]
    assert store.search("pass").items == []


def test_accents_do_not_matter(store: Store) -> None:
    searchable(store, received("e1", output="Größe, café"))
    assert found(store, "CAFE gro*") == ["e1"]


def test_any_part_of_a_chinese_or_japanese_sentence_is_found(store: Store) -> None:
    searchable(
        store, received("e1", output="今日は天気がいいですね"), received("e2", output="気天")
    )
    assert found(store, "天気") == ["e1"]
    hit = store.search("天気が").items[0]
    assert hit.snippet == "今日は天気がいいですね"
    assert "".join(hit.snippet[start:end] for start, end in hit.highlights) == "天気が"


def test_what_is_resent_with_every_call_is_found_once_where_it_came_first(store: Store) -> None:
    events = [
        each._replace(raw=AS_WRITTEN["compact"](each.event)) for each in map(resent, range(4, 9))
    ]
    searchable(store, *events, resent(6, session_id="s2", app="other"))
    assert found(store, "word5", app="support-bot") == ["e6"]
    assert found(store, "word0", app="support-bot") == ["e4"]
    assert found(store, "word5", app="other") == ["e6"]


def test_results_are_last_received_first(store: Store) -> None:
    searchable(store, received("old", at="12:00:00", output="x1"))
    searchable(store, received("new", at="10:00:00", output="x1"))
    assert found(store, "x1") == ["new", "old"]


def test_a_search_in_one_app_finds_nothing_of_another(store: Store) -> None:
    searchable(store, received("e1", output="reset"), received("e2", app="other", output="reset"))
    assert found(store, "reset", app="other") == ["e2"]
    assert store.search("reset", app="nobody").items == []


def test_a_snippet_shows_the_words_in_their_place(store: Store) -> None:
    long = "before " * 200 + "I am Locked <b>out</b> today" + " after" * 200
    searchable(store, received("e1", input=long))
    (hit,) = store.search("locked out").items
    assert (hit.app, hit.session_id, hit.id, hit.kind) == ("support-bot", "s1", "e1", "llm")
    assert [hit.snippet[start:end] for start, end in hit.highlights] == ["Locked", "out"]
    assert "I am Locked <b>out</b> today" in hit.snippet
    assert len(hit.snippet) < 300


def test_no_query_is_an_error(store: Store) -> None:
    searchable(store, received("e1", output="x1"))
    for query in [
        *("", " ", '"', '""', "*", "-", "()", "AND", "NOT x1", "x1 OR", "text:x1", '"x1', "x1\x00"),
        *("^x1", "NEAR(x1 x1)", "{x1}", "x1 + x1", "🦇", "'", "x" * 10_000, "a " * 10_000),
    ]:
        store.search(query)


def test_words_that_are_operators_elsewhere_are_words(store: Store) -> None:
    searchable(store, received("e1", output="this and that"), received("e2", output="this that"))
    assert found(store, "this AND that") == ["e1"]


WRITTEN = {
    "half-width kana": ("ﾊﾟｽﾜｰﾄﾞを忘れた", "パスワード", "ﾊﾟｽﾜｰﾄﾞ"),
    "full-width letters": ("注文 ＡＢＣ１２３ です", "ABC123", "ＡＢＣ１２３"),
    "decomposed kana": ("カ\u3099イト\u3099.pdf", "ガイド", "カ\u3099イト\u3099"),
    "Korean and its particle": ("비밀번호를 잊었어요", "비밀번호", "비밀번호"),
    "a part of a Korean word": ("신용카드번호는", "카드", "카드"),
    "decomposed Korean": (unicodedata.normalize("NFD", "환불은 언제"), "환불", None),
    "Greek": ("Η ΟΔΟΣ μου", "οδός", "ΟΔΟΣ"),
    "Cyrillic": ("Где ёжик?", "ЕЖИК", "ёжик"),
    "Arabic": ("قال كَتَبَ لي", "كتب", "كَتَبَ"),
    "Hebrew": ("שָׁלוֹם לך", "שלום", "שָׁלוֹם"),
    "Thai": ("ลืมรหัสผ่านแล้ว", "รหัสผ่าน", "รหัสผ่าน"),
    "Hindi": ("मेरा पासवर्ड भूल", "पासवर्ड", "पासवर्ड"),
    "an emoji": ("thanks🎉 a lot", "🎉", "🎉"),
    "an emoji of many parts": ("by 👩🏽‍💻 today", "👩‍💻", "👩🏽‍💻"),
    "sharp s": ("Die Straße 5", "strasse", "Straße"),
    "a ligature": ("the ﬁnance team", "finance", "ﬁnance"),
    "after other letters": ("ﬁ ß 👩🏽‍💻 🎉 e\u0301\u0301 Straße: naïve", "NAIVE", "naïve"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_words_are_found_as_a_reader_takes_them_and_shown_as_written(
    store: Store, case: str
) -> None:
    text, asked, shown = WRITTEN[case]
    searchable(store, received("e1", output=text))
    (hit,) = store.search(asked).items
    assert hit.snippet == text
    marked = [hit.snippet[start:end] for start, end in hit.highlights]
    assert marked == [unicodedata.normalize("NFD", asked) if shown is None else shown]


@pytest.mark.parametrize(("text", "asked"), [("ガイド", "カ"), ("мой", "мои"), ("ก็", "กา")])
def test_a_letter_with_a_mark_of_its_own_is_another(store: Store, text: str, asked: str) -> None:
    searchable(store, received("e1", output=unicodedata.normalize("NFD", text)))
    assert found(store, text) == ["e1"]
    assert store.search(asked).items == []


def test_a_snippet_out_of_a_long_text_is_of_the_text_as_written(store: Store) -> None:
    filler = "Ünïcode Wörter, 用户的订单 und ﬁ 👩🏽‍💻. " * 3000
    searchable(store, received("e1", output=f"{filler} Die Straße von Łódź {filler}"))
    (hit,) = store.search('"strasse von lodz"').items
    ((start, end),) = hit.highlights
    assert hit.snippet[start:end] == "Straße von Łódź"
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert hit.snippet.strip("…") in " ".join(f"{filler} Die Straße von Łódź {filler}".split())


@pytest.mark.parametrize("asked", ["＂", '＂a" OR "b＂', "＊", "текст＂"])
def test_wide_marks_in_a_query_are_no_error(store: Store, asked: str) -> None:
    searchable(store, received("e1", output="x1"))
    store.search(asked)


def test_words_of_any_script_leave_the_index_with_their_session(store: Store) -> None:
    texts = [text for text, _, _ in WRITTEN.values()]
    searchable(store, *(received(f"e{n}", output=text) for n, text in enumerate(texts)))
    store.delete_sessions([("support-bot", "s1")])
    searchable(store, received("new", session_id="s2", output="nothing of it"))
    assert [store.search(asked).items for _, asked, _ in WRITTEN.values()] == [[]] * len(texts)


def test_pages_of_results_give_each_once_and_end(store: Store) -> None:
    searchable(store, *(received(f"e{n}", output="x1") for n in range(5)))
    paged, after = list[str](), None
    for _ in range(3):
        page = store.search("x1", limit=2, after=after)
        paged += [hit.id for hit in page.items]
        after = page.next
    assert (paged, after) == (["e4", "e3", "e2", "e1", "e0"], None)


@pytest.mark.parametrize("after", ["", "x", "1-1", "s1", "s-1-1"])
def test_a_search_takes_cursors_of_searches_only(store: Store, after: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        store.search("x1", after=after)


def test_what_was_not_yet_searchable_is_after_opening_again(url: str) -> None:
    first = open_store(url)
    first.append([received("e1", output="x1")])
    first.close()
    again = open_store(url)
    assert found(again, "x1") == ["e1"]
    again.close()


# Clocks that are wrong

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


def test_who_claims_the_future_is_not_on_top_of_the_list_for_good(store: Store) -> None:
    store.append([received("e1", session_id="ahead", created_at=AHEAD[2])])
    later = received("e2", session_id="later", created_at=None)
    store.append([later._replace(received_at_us=RECEIVED_AT_US + 1)])
    assert [each.session_id for each in store.list_sessions().items] == ["later", "ahead"]
    assert [each.session_id for each in store.list_idle_sessions()] == ["ahead", "later"]


@pytest.mark.parametrize("by", ["hour", "day"])
def test_statistics_up_to_now_count_what_claims_the_future(store: Store, by: Any) -> None:
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


# Statistics

DAY = datetime(2026, 11, 22, tzinfo=UTC)


def statistics(store: Store, by: Any = "hour", hours: int = 24, **asked: Any) -> list[Statistic]:
    return store.statistics(by=by, since=DAY, until=DAY + timedelta(hours=hours), **asked)


def test_statistics_sum_up_each_hour(store: Store) -> None:
    metrics = {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.1, "latency_ms": 800}
    searchable(
        store,
        received("e1", at="10:00:00", metrics=metrics),
        received("e2", at="10:59:59.999999", metrics=metrics, error="x"),
        received("e3", at="11:00:00"),
    )
    ten, eleven = statistics(store)
    assert (ten.at, ten.count, ten.errors) == ("2026-11-22T10:00:00.000000Z", 2, 1)
    assert (ten.input_tokens, ten.output_tokens, ten.cost_usd) == (20, 4, 0.2)
    assert (eleven.count, eleven.errors, eleven.latency_ms_p50) == (1, 0, None)


def test_statistics_sum_up_each_day(store: Store) -> None:
    searchable(store, received("e1", at="00:00:00"), received("e2", at="23:59:59"))
    (day,) = statistics(store, "day")
    assert (day.at, day.count) == ("2026-11-22T00:00:00.000000Z", 2)


def test_percentiles_are_within_five_percent(store: Store) -> None:
    latencies = range(100, 1100)
    searchable(
        store,
        *(received(f"e{n}", at="10:00:00", metrics={"latency_ms": n}) for n in latencies),
    )
    (hour,) = statistics(store)
    assert hour.latency_ms_p50 == pytest.approx(599, rel=0.05)
    assert hour.latency_ms_p95 == pytest.approx(1049, rel=0.05)
    assert hour.latency_ms_p99 == pytest.approx(1089, rel=0.05)


@pytest.mark.parametrize("latency", [1e308, 1e-308, -1e308, 0, 2**63])
def test_an_absurd_latency_does_not_end_search_and_statistics(store: Store, latency: float) -> None:
    searchable(
        store,
        received("e1", at="10:00:00", metrics={"latency_ms": latency}),
        received("e2", at="10:00:00"),
    )
    assert [hour.count for hour in statistics(store)] == [2]


def test_statistics_of_a_time_count_what_began_in_it(store: Store) -> None:
    searchable(store, *(received(f"e{n}", at=f"0{n}:30:00") for n in range(4)))
    asked = {"by": "hour", "until": DAY + timedelta(hours=3)}
    items = store.statistics(since=DAY + timedelta(hours=1, minutes=45), **asked)
    assert [item.at[11:13] for item in items] == ["01", "02"]


@pytest.mark.parametrize(
    ("group", "counts"),
    [
        (None, {None: 4}),
        ("app", {"support-bot": 3, "other": 1}),
        ("model", {"small": 2}),
        ("tool", {"lookup": 1}),
    ],
)
def test_statistics_are_grouped(store: Store, group: Any, counts: dict[str | None, int]) -> None:
    searchable(
        store,
        received("e1", at="10:00:00", metadata={"model": "small"}),
        received("e2", at="10:00:00", metadata={"model": "small"}, app="other"),
        received("e3", at="10:00:00", kind="tool", name="lookup"),
        received("e4", at="10:00:00"),
    )
    assert {item.group: item.count for item in statistics(store, group=group)} == counts


def test_statistics_of_one_app_count_no_other(store: Store) -> None:
    searchable(store, received("e1", at="10:00:00"), received("e2", at="10:00:00", app="other"))
    assert [item.count for item in statistics(store, app="other")] == [1]
    assert statistics(store, app="nobody") == []


def test_statistics_add_up_over_several_appends_and_count_no_duplicate(store: Store) -> None:
    for _ in range(2):
        searchable(store, received("e1", at="10:00:00", metrics={"latency_ms": 10}))
    searchable(store, received("e2", at="10:00:00", metrics={"latency_ms": 1000}))
    (hour,) = statistics(store)
    assert hour.count == 2
    assert hour.latency_ms_p50 == pytest.approx(10, rel=0.05)


# Rebuilding


def test_a_rebuild_changes_no_answer(store: Store) -> None:
    searchable(
        store,
        received("e1", kind="retrieval", at="10:00:00", input={"query": "locked"}),
        said("e2", "I am locked out", at="10:00:01", interaction_id="i1"),
        received("e3", kind="tool", at="11:00:00", name="lookup", error={"type": "Timeout"}),
        received("e4", session_id="s2", metrics={"cost_usd": 0.1, "latency_ms": 7}),
    )

    def answers() -> list[Any]:
        return [
            store.list_sessions(),
            store.list_events("support-bot", "s1"),
            store.search("locked"),
            statistics(store),
            statistics(store, "day", group="tool"),
        ]

    before = answers()
    store.rebuild()
    assert answers() == before


def test_a_rebuild_tells_how_far_it_is(store: Store) -> None:
    store.append([received(f"e{n}") for n in range(10)])
    told: list[tuple[int, int]] = []
    store.rebuild(lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# Keys


def a_key(id: str = "k1", **changes: Any) -> StoredKey:
    given = {
        "kind": "ingest",
        "app": "support-bot",
        "name": "CI of Grüße 🦇",
        "digest": bytes(32),
        "created_at": "2026-11-22T16:00:00.123456Z",
        **changes,
    }
    return StoredKey(id, **given)


def test_a_key_comes_back_as_it_was_added(store: Store) -> None:
    keys = [a_key(), a_key("k2", kind="admin", app=None, created_at="2026-11-22T17:00:00.000001Z")]
    for key in reversed(keys):
        store.add_key(key)
    assert store.list_keys() == keys
    assert [store.find_key(key.id) for key in keys] == keys
    assert store.find_key("k3") is None


def test_a_store_knows_that_it_ever_had_a_key(store: Store) -> None:
    assert not store.has_keys()
    store.add_key(a_key())
    assert store.has_keys()
    store.revoke_key("k1")
    assert store.has_keys()


def test_a_revoked_key_stays_with_the_time_at_which_it_was_revoked_first(store: Store) -> None:
    store.add_key(a_key())
    store.add_key(a_key("k2"))
    assert store.revoke_key("k1")
    revoked = store.find_key("k1")
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert datetime.now(UTC) - datetime.fromisoformat(revoked.revoked_at) < timedelta(minutes=1)
    assert store.revoke_key("k1")
    assert store.list_keys() == [revoked, a_key("k2")]


def test_revoking_what_was_never_there_says_so(store: Store) -> None:
    assert not store.revoke_key("k1")


def test_two_keys_of_one_id_are_refused(store: Store) -> None:
    store.add_key(a_key())
    with pytest.raises(StoreError):
        store.add_key(a_key(kind="admin", app=None))
    assert store.find_key("k1") == a_key()


def test_keys_made_and_revoked_elsewhere_are_seen_at_once(store: Store, url: str) -> None:
    elsewhere = open_store(url)
    assert not store.has_keys()
    elsewhere.add_key(a_key())
    assert store.has_keys()
    assert store.find_key("k1") == a_key()
    elsewhere.revoke_key("k1")
    elsewhere.close()
    found = store.find_key("k1")
    assert found is not None
    assert found.revoked_at is not None


def test_keys_outlive_the_process_and_a_rebuild(url: str) -> None:
    store = open_store(url)
    store.add_key(a_key())
    store.rebuild()
    store.close()
    again = open_store(url)
    assert again.list_keys() == [a_key()]
    again.close()


def test_the_signing_secret_is_made_once_and_for_each_store(url: str, tmp_path: Path) -> None:
    store, elsewhere = open_store(url), open_store(url)
    secret = store.signing_secret()
    assert len(secret) == 32
    assert {store.signing_secret(), elsewhere.signing_secret()} == {secret}
    store.close()
    elsewhere.close()
    (tmp_path / "other").mkdir()
    other = open_store(url.replace(str(tmp_path), str(tmp_path / "other")))
    assert other.signing_secret() != secret
    other.close()


def test_a_store_exists_once_it_was_opened(url: str) -> None:
    assert not store_exists(url)
    open_store(url).close()
    assert store_exists(url)


# Deleting


def everything(store: Store) -> list[Any]:
    """Answers to all questions that a deletion could leave something in."""
    return [
        (store.list_apps(), store.count_events(), store.list_sessions()),
        [listed(store, **where) for where in ({"kind": "llm"}, {"tool": "lookup"}, {"tag": "vip"})],
        [store.search(word).items for word in ("locked", "reset", "word5", "lookup")],
        [statistics(store, by, group=group) for by in ("hour", "day") for group in (None, "tool")],
        [item.raw for item in store.list_received().items],
    ]


def two_sessions() -> tuple[list[ReceivedEvent], list[ReceivedEvent]]:
    leaving = [
        said("l1", "I am locked out", at="10:00:00", metrics={"latency_ms": 9000}, tags=["vip"]),
        received("l2", kind="tool", at="11:00:00", name="lookup", error={"type": "Timeout"}),
        *(resent(n) for n in range(4, 9)),
    ]
    staying = [
        said("s1", "reset, I am locked out", session_id="s2", at="10:00:00"),
        *(resent(n, session_id="s2", app="other") for n in range(4, 7)),
        received("s3", session_id="s3", at="10:30:00", metrics={"latency_ms": 10, "cost_usd": 1}),
    ]
    return leaving, staying


def test_after_a_deletion_all_answers_are_those_of_a_store_that_never_had_it(
    url: str, tmp_path: Path
) -> None:
    leaving, staying = two_sessions()
    store = open_store(url)
    searchable(store, *leaving, *staying)
    removed = store.delete_sessions([("support-bot", "s1"), ("support-bot", "nobody")])
    assert (removed.sessions, removed.events) == (1, len(leaving))
    assert removed.bytes > 0
    assert store.delete_sessions([("support-bot", "marker")]).events == 1
    assert store.compact()
    after = everything(store)
    store.delete_sessions([(s.app, s.session_id) for s in store.list_sessions().items])
    assert (store.list_apps(), store.count_events(), store.search("locked").items) == ([], 0, [])
    searchable(store, *staying)
    store.delete_sessions([("support-bot", "marker")])
    assert everything(store) == after
    store.close()


def test_a_rebuild_after_a_deletion_changes_no_answer(store: Store) -> None:
    leaving, staying = two_sessions()
    searchable(store, *leaving, *staying)
    store.delete_sessions([("support-bot", "s1")])
    before = everything(store)
    store.rebuild()
    assert everything(store) == before


def test_what_is_deleted_before_it_is_indexed_never_appears(store: Store) -> None:
    leaving, staying = two_sessions()
    store.append(leaving)
    store.delete_sessions([("support-bot", "s1")])
    searchable(store, *staying)
    assert found(store, "lookup", 0) == []
    assert sum(item.count for item in statistics(store, group="tool")) == 0


def test_a_session_that_is_active_since_is_not_deleted(store: Store) -> None:
    store.append([received("e1", at="10:00:00"), received("e2", session_id="s2", at="12:00:00")])
    noon = DAY + timedelta(hours=12)
    keys = [("support-bot", "s1"), ("support-bot", "s2")]
    assert store.delete_sessions(keys, idle_since=noon).sessions == 1
    assert store.list_idle_sessions() == [summary(store, "s2")]


def test_deleting_tells_how_many_more_are_deleted(store: Store) -> None:
    store.append([received(f"e{n}") for n in range(700)])
    told: list[int] = []
    assert store.delete_sessions([("support-bot", "s1")], on_progress=told.append).events == 700
    assert (sum(told), len(told) > 1) == (700, True)


def test_deleting_nothing_is_no_error(store: Store) -> None:
    assert store.delete_sessions([]) == Removed()
    assert store.compact()


def test_the_longest_idle_sessions_are_listed_first(store: Store) -> None:
    for session_id, at in [("s1", "10:00:00"), ("s2", "12:00:00"), ("s3", "11:00:00")]:
        store.append([received(session_id, session_id=session_id, at=at)])
    before = DAY + timedelta(hours=12)
    assert [s.session_id for s in store.list_idle_sessions()] == ["s1", "s3", "s2"]
    assert [s.session_id for s in store.list_idle_sessions(before=before)] == ["s1", "s3"]
    assert [s.session_id for s in store.list_idle_sessions(limit=1)] == ["s1"]
    store.append([received("e9", session_id="s9", app="other", at="09:00:00")])
    of_app = store.list_idle_sessions(app="support-bot", before=before)
    assert [s.session_id for s in of_app] == ["s1", "s3"]
    assert store.list_idle_sessions(app="nobody") == []


def test_a_deletion_makes_the_store_smaller(store: Store) -> None:
    store.append([received(f"e{n}", output=f"word{n} " * 500) for n in range(500)])
    before = store.size_bytes()
    store.delete_sessions([("support-bot", "s1")])
    store.compact()
    assert store.size_bytes() < before


# Exporting


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
