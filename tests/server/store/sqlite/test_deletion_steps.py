"""A step of a deletion is as long as others can wait, and afterwards they get their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionbat.server.store.sqlite import deletion
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.server.store.sqlite.texts import put, received


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(tmp_path / "store.db"))) as opened:
        yield opened


class Clock:
    """Stands still, but for calls that are made to take a time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            self.now += seconds
            return call(*arguments)

        return slow


@pytest.fixture
def clock(store: SqliteStore) -> Clock:
    clock = Clock()
    store._deletion._clock = clock
    return clock


def steps_of(store: SqliteStore, *sessions: str) -> list[int]:
    steps: list[int] = []
    store.delete_sessions([("bot", each) for each in sessions], on_progress=steps.append)
    return steps


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (0.08, [100, 100, 100, 100]),
        (0.16, [100, 50, 50, 50]),
        (10.0, [100, 50, 50, 50]),
        (0.04, [100, 150, 150]),
        (0.0, [100, 150, 150]),
    ],
)
def test_the_time_of_a_step_decides_the_size_of_the_next(
    seconds: float,
    steps: list[int],
    store: SqliteStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(store, *(received(f"e{n}", "word") for n in range(400)))
    slow = clock.taking(seconds, deletion._delete_some)
    monkeypatch.setattr(deletion, "_delete_some", slow)
    assert steps_of(store, "s")[: len(steps)] == steps


def test_a_step_takes_as_many_events_as_may_be_and_not_one_more(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "STEP_EVENTS", 6)
    put(store, *(received(f"a{n}", "word", session="six") for n in range(6)))
    put(store, *(received(f"b{n}", "word", session="seven") for n in range(7)))
    put(store, *(received(f"c{n}", "word", session=f"single {n}") for n in range(7)))
    assert steps_of(store, "six") == [6]
    assert steps_of(store, "seven") == [6, 1]
    assert steps_of(store, *(f"single {n}" for n in range(7))) == [6, 1]


@pytest.mark.parametrize(
    ("reading", "deleting", "pause"), [(0.0, 0.2, 0.2), (0.05, 0.2, 0.15), (0.4, 0.2, 0.0)]
)
def test_others_get_as_long_as_a_step_took_counting_the_time_in_which_it_was_read(
    reading: float,
    deleting: float,
    pause: float,
    store: SqliteStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(store, received("e1", "word"))
    pauses: list[float] = []
    monkeypatch.setattr(store._writer, "pause", pauses.append)
    monkeypatch.setattr(store._deletion, "_weigh", clock.taking(reading, store._deletion._weigh))
    monkeypatch.setattr(deletion, "_delete_some", clock.taking(deleting, deletion._delete_some))
    assert steps_of(store, "s") == [1]
    assert pauses == [pytest.approx(pause)]


def test_a_session_that_a_step_began_is_finished_whatever_is_active_since(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "STEP_EVENTS", 3)
    put(store, *(received(f"e{n}", "word", session="long") for n in range(5)))
    put(store, received("f", "word", session="other"))
    asked = [("bot", "long"), ("bot", "other")]
    first = store._deletion.step(asked, 2, has_begun=False)
    assert (first.removed.events, first.done, first.has_begun) == (3, 0, True)
    later = [received("late", "word", session=each)._replace(received_at_us=5) for _, each in asked]
    put(store, *later)
    second = store._deletion.step(asked, 2, has_begun=True)
    assert (second.removed.events, second.done, second.has_begun) == (3, 1, False)
    assert store._deletion.step(asked[1:], 2, has_begun=False).removed.events == 0
    assert [each.session_id for each in store.list_sessions().items] == ["other"]
