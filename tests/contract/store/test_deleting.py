"""After a deletion all answers are those of a store that never had it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from sessionbat.server.records import (
    Removed,
)
from sessionbat.server.store.opening import Store, open_store
from tests.contract.store.events import (
    DAY,
    found,
    listed,
    received,
    searchable,
    statistics,
    summary,
    two_sessions,
)


def everything(store: Store) -> list[Any]:
    """Answers to all questions that a deletion could leave something in."""
    return [
        (store.list_apps(), store.count_events(), store.list_sessions()),
        [listed(store, **where) for where in ({"kind": "llm"}, {"tool": "lookup"}, {"tag": "vip"})],
        [store.search(word).items for word in ("locked", "reset", "word5", "lookup")],
        [statistics(store, by, group=group) for by in ("hour", "day") for group in (None, "tool")],
        [item.raw for item in store.list_received().items],
    ]


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
