"""What every store promises of events that come in parts, with rules of the test's own."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store
from sessionbat.server.store.parts import ReceivedPart
from tests.conftest import eventually
from tests.contract.store.toy_parts import (
    APP,
    NOON_US,
    RULES,
    ToyFacts,
    assert_as_of_final_events_only,
    part,
    sessions,
)


def test_a_part_that_names_no_session_is_an_event_of_its_trace(store: Store) -> None:
    assert store.append([part("a"), part("b")]) == [True, True]
    assert sessions(store) == {"t1": ["t1-a", "t1-b"]}


def test_a_part_that_names_a_session_moves_those_that_came_before(store: Store) -> None:
    store.append([part("a"), part("x", "t2")])
    store.append([part("b", session="thread_42", is_event=False)])
    assert sessions(store) == {"thread_42": ["t1-a"], "t2": ["t2-x"]}
    store.append([part("c")])
    assert sessions(store)["thread_42"] == ["t1-a", "t1-c"]


def test_what_is_sent_twice_changes_nothing(store: Store) -> None:
    parts = [part("a"), part("b", session="s"), part("c", is_event=False), part("d", messages=5)]
    store.append(parts)
    before = [*map(str, store.list_received().items)]
    assert store.append(parts) == [False] * 4
    assert store.append([*reversed(parts)]) == [False] * 4
    assert [*map(str, store.list_received().items)] == before


def test_the_same_span_of_another_app_is_another(store: Store) -> None:
    assert store.append([part("a", session="s"), part("a", session="s", app="other")]) == [
        True,
        True,
    ]
    assert store.count_events() == 2


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_of_records_of_one_call_the_richer_stays(store: Store, order: tuple[int, ...]) -> None:
    parts = [
        part("poor", "t1", response="r1", rich=1),
        part("rich", "t2", response="r1", rich=3, session="thread"),
        part("middle", "t3", response="r1", rich=2),
    ]
    for number in order:
        store.append([parts[number]])
    assert sessions(store) == {"thread": ["t2-rich"]}
    (event,) = store.list_events(APP, "thread").items
    assert event.event["observation"]["metadata"]["spans"] == ["middle", "poor", "rich"]


def test_a_record_that_was_the_poorer_comes_back_when_it_says_more(store: Store) -> None:
    store.append([part("one", "t1", response="r1", rich=1, output=["first"])])
    store.append([part("two", "t2", response="r1", rich=2)])
    assert sessions(store) == {"t2": ["t2-two"]}
    store.append([part("one", "t1", response="r1", rich=3, output=["more"])])
    assert sessions(store) == {"t1": ["t1-one"]}
    (event,) = store.list_events(APP, "t1").items
    assert event.event["observation"]["output"] == ["first", "more", "said one"]


def test_a_fragment_that_comes_first_is_held_until_there_is_an_event(store: Store) -> None:
    early = part("a", output=["from the log"])
    early = early._replace(facts=ToyFacts(is_event=False))
    assert store.append([early]) == [True]
    assert store.count_events() == 0
    assert store.append([part("a", session="s")]) == [True]
    (event,) = store.list_events(APP, "s").items
    assert event.event["observation"]["output"] == ["from the log", "said a"]


def test_a_fragment_that_comes_later_is_added(store: Store) -> None:
    store.append([part("a", session="s")])
    assert store.append([part("a", output=["late"])]) == [True]
    (event,) = store.list_events(APP, "s").items
    assert event.event["observation"]["output"] == ["late", "said a"]
    assert store.append([part("a", output=["late"])]) == [False]


def test_events_and_parts_are_answered_in_their_places(store: Store) -> None:
    whole = {**part("w").event, "session_id": "s", "id": "whole"}  # type: ignore[dict-item]
    event = ReceivedEvent(json.dumps(whole).encode(), whole, NOON_US)
    assert store.append([part("a", session="s"), event, part("b")]) == [True] * 3
    assert store.append([part("b"), part("c"), event]) == [False, True, False]
    assert sessions(store) == {"s": ["t1-a", "t1-b", "t1-c", "whole"]}


def test_an_event_that_came_by_itself_is_not_stored_again(store: Store) -> None:
    whole = {**part("a").event, "session_id": "s"}  # type: ignore[dict-item]
    store.append([ReceivedEvent(json.dumps(whole).encode(), whole, NOON_US)])
    assert store.append([part("a")]) == [False]
    assert sessions(store) == {"s": ["t1-a"]}


# As if it had never been otherwise


def random_parts(chance: random.Random) -> list[ReceivedPart]:
    parts = []
    for number in range(chance.randint(3, 14)):
        parts.append(
            part(
                f"s{number}",
                f"t{chance.randint(1, 3)}",
                chance.choice([None, None, None, "one", "two"]),
                response=chance.choice([None, None, "r1", "r2"]),
                rich=chance.randint(1, 3),
                kind=chance.choice(["llm", "llm", "tool"]),
                messages=chance.choice([0, 0, 5, 6, 8]),
                user=chance.choice(["ann", "bob"]),
                is_event=chance.random() < 0.85,
                minute=chance.randint(0, 120),
                failed=chance.random() < 0.2,
                estimated=chance.random() < 0.4,
            )
        )
    return parts


def store_shuffled(store: Store, parts: list[ReceivedPart], chance: random.Random) -> None:
    sent = [*parts, *chance.sample(parts, len(parts) // 3)]
    chance.shuffle(sent)
    while sent:
        size = chance.randint(1, 5)
        store.append(sent[:size])
        del sent[:size]
        if chance.random() < 0.2:
            eventually(lambda: store.measure().events_behind == 0)


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 60))]
)
def test_after_any_arrivals_a_store_answers_as_one_that_got_the_final_events(
    store: Store, url: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    parts = random_parts(chance)
    store_shuffled(store, parts, chance)
    assert_as_of_final_events_only(url, store, tmp_path / "fresh.db")
    expected = RULES.place({each.key: each.facts for each in parts})
    assert sessions(store) == {
        session: sorted(
            f"{k.trace}-{k.span}" for k, p in expected.items() if p.session_id == session
        )
        for session in {place.session_id for place in expected.values()}
    }


def test_messages_pass_on_to_the_next_event_that_has_them(
    store: Store, url: str, tmp_path: Path
) -> None:
    store.append([part("a", session="s", messages=5, response="r", rich=1)])
    store.append([part("b", messages=6), part("c", messages=8)])
    eventually(lambda: store.measure().events_behind == 0)
    store.append([part("z", "t2", response="r", rich=2)])
    assert_as_of_final_events_only(url, store, tmp_path / "fresh.db")
    found = {hit.id for hit in store.search("message").items}
    assert found == {"t1-b", "t1-c"}
