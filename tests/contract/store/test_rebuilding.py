"""What is derived can be made again from the events, and answers are the same."""

from __future__ import annotations

from typing import Any

from sessionbat.server.store.opening import Store
from tests.contract.store.events import received, said, searchable, statistics


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
