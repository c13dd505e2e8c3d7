"""Sessions, events and apps are listed in order, and page by page each once."""

from __future__ import annotations

import threading

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.store.opening import Store
from tests.contract.store.events import ids, received


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
