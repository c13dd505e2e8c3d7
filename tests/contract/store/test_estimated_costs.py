"""What every store promises of estimated costs: summed up, and never part of what apps gave."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store, open_store, salvage
from tests.contract.store.events import received, searchable, statistics, summary
from tests.contract.store.toy_parts import part

OPENAI = {"model": "gpt-5.4-mini", "provider": "openai"}
#: 0.75 and 4.5 dollars for a million; cached ones 0.075.
TOKENS = {"input_tokens": 1000, "output_tokens": 100}
DOLLARS = 0.0012


def call(id: str, at: str = "10:00:00", **changes: Any) -> ReceivedEvent:
    metrics = {**TOKENS, **changes.pop("metrics", {})}
    return received(id, at=at, **{"metadata": OPENAI, "metrics": metrics, **changes})


def costs(store: Store, session_id: str = "s1") -> tuple[float, float]:
    found = summary(store, session_id)
    return found.cost_usd, found.cost_estimated


def estimates(store: Store, session_id: str = "s1") -> dict[str, float | None]:
    events = store.list_events("support-bot", session_id, limit=1000).items
    assert [store.find_event("support-bot", session_id, each.id) for each in events] == events
    return {each.id: each.cost_estimated for each in events}


def test_a_call_without_a_cost_is_estimated(store: Store) -> None:
    store.append([call("e1"), call("e2", metrics={"cache_read_tokens": 1000})])
    assert costs(store) == (0.0, 0.001725)
    assert estimates(store) == pytest.approx({"e1": DOLLARS, "e2": 0.000525})


@pytest.mark.parametrize("given", [0.5, 0, 1e-9])
def test_a_cost_that_the_app_gave_is_not_estimated_again(store: Store, given: float) -> None:
    store.append([call("e1", metrics={"cost_usd": given}), call("e2")])
    assert costs(store) == (given, DOLLARS)
    assert estimates(store)["e1"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {**OPENAI, "provider": "ollama"}},
        {"metadata": {**OPENAI, "model": "my-own-model"}},
        {"metadata": {"provider": "openai"}},
        {"metadata": None},
        {"kind": "tool"},
        {"metrics": {"output_tokens": None}},
        {"metrics": {"cache_read_tokens": 5000}},
    ],
)
def test_what_is_not_known_has_no_estimate(store: Store, changes: dict[str, Any]) -> None:
    store.append([call("e1", **changes)])
    assert costs(store) == (0.0, 0.0)
    assert estimates(store) == {"e1": None}


def test_the_same_call_twice_is_estimated_once(store: Store) -> None:
    store.append([call("e1"), call("e1")])
    store.append([call("e1")])
    assert costs(store) == (0.0, DOLLARS)


def test_statistics_tell_both_apart(store: Store) -> None:
    searchable(store, call("e1"), call("e2", metrics={"cost_usd": 1}), call("e3", at="11:00:00"))
    assert [(each.cost_usd, each.cost_estimated) for each in statistics(store)] == [
        *((1.0, DOLLARS), (0.0, DOLLARS))
    ]
    by_model = [each for each in statistics(store, "day", group="model") if each.group]
    assert [(each.group, each.cost_estimated) for each in by_model] == [("gpt-5.4-mini", 0.0024)]


def test_filters_and_sorting_count_given_costs_only(store: Store) -> None:
    store.append([call("e1"), call("e2", session_id="s2", metrics={"cost_usd": 1e-6})])
    listed = [each.session_id for each in store.list_sessions(sort="cost").items]
    assert listed == ["s2", "s1"]


def random_calls(chance: random.Random, count: int) -> list[ReceivedEvent]:
    calls = []
    for number in range(count):
        metrics: dict[str, Any] = {
            "input_tokens": chance.randint(0, 300_000),
            "output_tokens": chance.randint(0, 9_000),
            "cost_usd": chance.choice([None, None, chance.random()]),
        }
        metadata = chance.choice([OPENAI, {"model": "claude-sonnet-4-5"}, {"model": "own"}])
        at = f"{chance.randint(10, 13)}:00:{number % 60:02}"
        calls.append(call(f"e{number}", at, metrics=metrics, metadata=metadata))
    return calls


@pytest.mark.parametrize("seed", range(5))
def test_a_deletion_subtracts_exactly_what_was_added(store: Store, seed: int) -> None:
    calls = random_calls(random.Random(seed), 40)
    searchable(store, call("stays", session_id="s2"))
    before = statistics(store), costs(store, "s2")
    searchable(store, *calls)
    added = statistics(store)
    assert sum(each.cost_estimated for each in added) > 1
    assert costs(store)[1] == pytest.approx(sum(filter(None, estimates(store).values())))
    store.delete_sessions([("support-bot", "s1")])
    assert (statistics(store), costs(store, "s2")) == before
    assert store.get_session("support-bot", "s1") is None


def test_half_way_through_a_deletion_the_sum_is_that_of_the_rest(store: Store) -> None:
    store.append(random_calls(random.Random(1), 250))
    seen: list[tuple[int, float, float]] = []

    def look(_: int) -> None:
        if store.get_session("support-bot", "s1") is not None:
            rest = estimates(store)
            expected = sum(round(each * 1e9) for each in rest.values() if each is not None) / 1e9
            seen.append((len(rest), costs(store)[1], expected))

    store.delete_sessions([("support-bot", "s1")], on_progress=look)
    assert seen and all(0 < count < 250 and made == expected for count, made, expected in seen)


@pytest.mark.parametrize("seed", range(3))
def test_a_rebuild_estimates_the_same(store: Store, seed: int) -> None:
    searchable(store, *random_calls(random.Random(seed), 40))
    before = statistics(store), summary(store), estimates(store)
    store.rebuild()
    assert (statistics(store), summary(store), estimates(store)) == before


def test_a_rescued_store_has_the_same_estimates(url: str, store: Store, tmp_path: Path) -> None:
    searchable(store, *random_calls(random.Random(7), 40))
    before = statistics(store), summary(store), estimates(store)
    target = tmp_path / "rescued.db"
    salvage(url, target)
    rescued = open_store(f"sqlite:///{target}")
    try:
        searchable(rescued, received("last", session_id="last"))
        assert (summary(rescued), estimates(rescued)) == before[1:]
        sums = [sum(each.cost_estimated for each in of) for of in (statistics(rescued), before[0])]
        assert sums[0] == sums[1] > 1
    finally:
        rescued.close()


def prices_file(directory: Path, price: int) -> Path:
    path = directory / "prices.toml"
    path.write_text(f'[models."gpt-5.4-mini"]\ninput = {price}\noutput = 0\n')
    return path


def test_own_prices_apply_to_later_events_and_after_a_rebuild_to_all(
    url: str, tmp_path: Path
) -> None:
    store = open_store(url)
    searchable(store, call("e1"))
    store.close()
    store = open_store(url, prices=prices_file(tmp_path, 1000))
    store.append([call("e2")])
    assert estimates(store) == {"e1": DOLLARS, "e2": 1.0}
    store.rebuild()
    assert estimates(store) == {"e1": 1.0, "e2": 1.0}
    assert costs(store) == (0.0, 2.0)
    assert sum(each.cost_estimated for each in statistics(store)) == 2.0
    store.close()


def test_a_deletion_subtracts_what_was_estimated_by_older_prices(url: str, tmp_path: Path) -> None:
    for number, price in enumerate((1000, 2000)):
        store = open_store(url, prices=prices_file(tmp_path, price))
        searchable(store, call(f"e{number}"))
        store.close()
    store = open_store(url, prices=prices_file(tmp_path, 5))
    searchable(store, call("stays", session_id="s2"))
    assert costs(store) == (0.0, 3.0)
    store.delete_sessions([("support-bot", "s1")])
    (hour,) = [each for each in statistics(store) if each.cost_estimated]
    assert (hour.count, hour.cost_estimated) == (1, 0.005)
    store.close()


def test_an_event_that_moves_to_another_session_takes_its_estimate_along(store: Store) -> None:
    # Of 200 tokens in and 10 out: 0.000195 dollars.
    store.append([part(name, estimated=True) for name in "ab"] + [part("c")])
    store.append([part("z", "t2", session="other", estimated=True)])
    assert costs(store, "t1") == (0.1, 0.00039)
    store.append([part("x", session="thread_42", is_event=False)])
    assert costs(store, "thread_42") == (0.1, 0.00039)
    store.append([part("a", response="r"), part("y", "t2", response="r", rich=3)])  # one call
    assert costs(store, "thread_42") == (0.1, 0.000195)
    assert costs(store, "other")[1] == 0.000195
