"""Apps take turns, wherever more is asked than can be done at once."""

from __future__ import annotations

from sessionbat.server.web.fair_queue import FairQueue


def queue_of(*items: tuple[str | None, str]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for app, item in items:
        queue.put(app, item)
    return queue


MANY = [*(("a", f"a{n}") for n in range(4)), ("b", "b0"), (None, "n0"), ("b", "b1")]
IN_TURN = ["a0", "b0", "n0", "a1", "b1", "a2", "a3"]


def taken(queue: FairQueue[str]) -> list[str]:
    return [item for _ in range(len(queue)) if (item := queue.take()) is not None]


def test_apps_take_turns_and_keep_their_order() -> None:
    assert taken(queue_of(*MANY)) == IN_TURN


def test_looking_shows_the_order_and_takes_nothing() -> None:
    queue = queue_of(*MANY)
    assert [*queue] == IN_TURN
    assert taken(queue) == IN_TURN


def test_an_app_that_comes_later_waits_for_one_turn_of_each() -> None:
    queue = queue_of(*MANY[:4])
    assert queue.take() == "a0"
    queue.put("c", "c0")
    assert [queue.take(), queue.take()] == ["a1", "c0"]


def test_an_app_that_may_not_is_passed_over_and_keeps_its_items() -> None:
    queue = queue_of(*MANY)
    assert queue.take(lambda app: app != "a") == "b0"
    assert queue.take() == "a0"
    assert queue.take(lambda app: app is None) == "n0"
    assert queue.take(lambda app: False) is None
    assert len(queue) == 4


def test_what_is_dropped_is_the_first_of_each() -> None:
    queue = queue_of(*MANY)
    queue.drop(["a", "b", "a"])
    assert sorted(queue) == ["a2", "a3", "b1", "n0"]
    assert len(queue) == 4
    queue.drop(["b"])
    assert [*queue] == ["n0", "a2", "a3"]
