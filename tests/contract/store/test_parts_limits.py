"""How much of events in parts a store looks at, keeps and deletes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.ops.retention import Retention, RetentionKeeper
from sessionbat.server.records import SessionFilter
from sessionbat.server.store.opening import Store
from sessionbat.server.store.parts import SpanKey
from sessionbat.server.store.sqlite import part_placing, revision, span_group, span_rows
from tests.conftest import eventually
from tests.contract.store.toy_parts import (
    APP,
    NOON_US,
    ToyFacts,
    ToyPlace,
    ToyRules,
    assert_as_of_final_events_only,
    part,
    sessions,
)

# Bounds


def test_more_events_than_one_commit_moves_are_moved_by_the_next(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_placing, "MAX_REVISED", 3)
    store.append([part(f"s{n}") for n in range(20)])
    store.append([part("root", session="thread", is_event=False)])
    assert sessions(store) == {"thread": sorted(f"t1-s{n}" for n in range(20))}
    assert_as_of_final_events_only(url, store, tmp_path / "fresh.db")


def test_what_a_killed_process_left_is_moved_with_the_next_part(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_placing, "MAX_REVISED", 3)
    store.append([part(f"s{n}") for n in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(part_placing.PartPlacing, "settle_some", _killed)
        with pytest.raises(KeyboardInterrupt):
            store.append([part("root", session="thread", is_event=False)])
    assert set(sessions(store)) == {"t1", "thread"}
    store.append([part("other", "t9")])
    assert sessions(store) == {
        "thread": sorted(f"t1-s{n}" for n in range(10)),
        "t9": ["t9-other"],
    }


def _killed(*_: Any) -> bool:
    raise KeyboardInterrupt


def test_of_a_trace_that_never_ends_so_many_parts_are_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_rows, "MAX_SPANS_OF_TRACE", 10)
    monkeypatch.setattr(span_group, "MAX_SPANS_OF_TRACE", 10)
    seen = []

    class Watching(ToyRules):
        def place(self, parts: Mapping[SpanKey, ToyFacts]) -> dict[SpanKey, ToyPlace]:
            seen.append(len(parts))
            return super().place(parts)

    rules = Watching()
    for number in range(40):
        store.append([part(f"s{number}", session="s")._replace(rules=rules)])
    assert max(seen) == 11
    assert store.append([part("s0", session="s")._replace(rules=rules)]) == [False]
    assert store.count_events() == 40


def test_of_parts_that_share_a_key_so_many_traces_are_looked_at(store: Store) -> None:
    for number in range(200):
        store.append([part("s", f"t{number}", response="always the same", rich=number)])
    seen = []

    class Watching(ToyRules):
        def place(self, parts: Mapping[SpanKey, ToyFacts]) -> dict[SpanKey, ToyPlace]:
            seen.append(len(parts))
            return super().place(parts)

    store.append([part("s", "last", response="always the same")._replace(rules=Watching())])
    assert seen and max(seen) <= span_group.MAX_TRACES_TOGETHER + 1


def test_in_a_long_session_a_label_may_stay_that_no_event_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revision, "MAX_READ", 3)
    for trace, length in (("short", 2), ("long", 5)):
        store.append([part("gone", trace, response=f"r {trace}", rich=1)])
        store.append([part(f"s{n}", trace) for n in range(length)])
        store.append([part("rich", f"other {trace}", response=f"r {trace}", rich=2)])
    assert len(sessions(store)["long"]) == 5
    found = store.list_sessions(where=SessionFilter(tag="tag-gone")).items
    assert [session.session_id for session in found] == ["long"]


# Deleting


def spans(url: str, condition: str = "1") -> int:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM spans WHERE {condition}").fetchone()
    return int(count)


def test_a_deletion_takes_the_spans_of_its_session_and_what_is_held_of_it(
    store: Store, url: str
) -> None:
    held = part("log", output=["private"])._replace(facts=ToyFacts(is_event=False))
    twin = part("twin", "t2", response="r", rich=1)
    store.append([part("a", session="s", response="r", rich=2), held, twin])
    store.append([part("other", "t3", session="other")])
    named = part("alone", "t4")._replace(facts=ToyFacts(session="s", is_event=False))
    store.append([named])
    assert spans(url, "held IS NOT NULL") == 3
    store.delete_sessions([(APP, "s")])
    assert spans(url, "held IS NOT NULL") == 0
    assert sessions(store) == {"other": ["t3-other"]}
    assert spans(url) == 1


def test_spans_of_traces_that_are_over_are_forgotten_and_their_events_stay(
    store: Store, url: str
) -> None:
    early = part("log", "t3")._replace(facts=ToyFacts(is_event=False))
    store.append([part("a", session="s"), part("b", response="r"), early])
    store.append([part("later", "t2", session="s", minute=60)])
    at = datetime.fromtimestamp(NOON_US / 1e6, UTC) + timedelta(microseconds=30)
    assert store.forget_spans(at) == 3
    assert sessions(store) == {"s": ["t1-a", "t1-b", "t2-later"]}
    assert store.append([part("a"), part("b", response="r")]) == [False, False]
    assert sessions(store) == {"s": ["t1-a", "t1-b", "t2-later"]}


def test_of_a_trace_that_goes_on_only_what_is_far_back_is_forgotten(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_rows, "MAX_SPANS_OF_TRACE", 5)
    store.append([part(f"s{n}", session="s", minute=n) for n in range(20)])
    at = datetime.fromtimestamp(NOON_US / 1e6, UTC) + timedelta(microseconds=18)
    assert store.forget_spans(at) == 15
    assert spans(url) == 5


def test_a_running_server_forgets_spans_after_a_day(store: Store, url: str) -> None:
    store.append([part("a", session="s")])
    day = timedelta(hours=24)
    received = datetime.fromtimestamp(NOON_US / 1e6, UTC)
    now = [received + day]
    keeper = RetentionKeeper(store, Retention(), interval=0.01, clock=lambda: now[0])
    keeper.start()
    try:
        store.append([part("b", "t2", session="s", minute=1)])
        assert spans(url) == 2
        now[0] += timedelta(microseconds=1)
        eventually(lambda: spans(url) == 1)
        assert sessions(store) == {"s": ["t1-a", "t2-b"]}
    finally:
        keeper.close()
