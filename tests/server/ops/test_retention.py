"""Retention: which sessions go, and who sees to it while a server runs."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionbat.errors import ConfigurationError
from sessionbat.server.ops import retention
from sessionbat.server.ops.retention import Retention, RetentionKeeper, enforce, foresee
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.store.opening import Store, open_store
from tests.conftest import eventually
from tests.server.wire import Wire, event

#: Received after anything that a test calls an event's time: 2096.
LATER_US = 4_000_000_000_000_000


NOW = datetime(2026, 11, 27, tzinfo=UTC)
MB = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


def add(store: Store, *days: float, size: int = 10) -> None:
    """Add a session for each age, called by it, with two events: one when it began, long before."""
    store.append(
        [
            received(f"{age}-{begun}", str(age), NOW - timedelta(days=age + 100 * begun), size)
            for age in days
            for begun in (1, 0)
        ]
    )


def received(id: str, session_id: str, at: datetime, size: int) -> ReceivedEvent:
    # Noise is hardly compressed, and metadata does not fill the text index.
    noise = random.Random(id).randbytes(size // 2).hex()
    made = event(
        id,
        session_id=session_id,
        created_at=at.isoformat(),
        observation__metadata={"noise": noise},
    )
    return ReceivedEvent(json.dumps(made).encode(), made, LATER_US)


def left(store: Store) -> list[str]:
    return [session.session_id for session in store.list_idle_sessions()]


def test_a_session_goes_whole_when_its_last_activity_is_too_old(store: Store) -> None:
    add(store, 1, 29, 30, 31, 400)
    removed = enforce(store, Retention(max_age=timedelta(days=30)), NOW)
    assert left(store) == ["30", "29", "1"]  # and what of them is older stays with them
    assert (removed.sessions, removed.events, store.count_events()) == (2, 4, 6)


def test_the_longest_idle_go_until_the_rest_has_room(store: Store) -> None:
    add(store, *range(40), size=200_000)
    limit = 5 * MB
    assert store.size_bytes() > limit
    removed = enforce(store, Retention(max_bytes=limit), NOW)
    assert 0.7 * limit < store.size_bytes() <= limit
    assert left(store) == [str(age) for age in reversed(range(40 - removed.sessions))]


def test_room_is_given_back_to_the_disk(store: Store, tmp_path: Path) -> None:
    add(store, *range(40), size=200_000)
    eventually(lambda: not store.measure().events_behind)  # which writes, too
    enforce(store, Retention(max_bytes=5 * MB), NOW)
    assert (tmp_path / "store.db").stat().st_size <= 5 * MB
    assert (tmp_path / "store.db-wal").stat().st_size == 0


def test_a_session_that_comes_back_at_the_last_moment_stays(store: Store) -> None:
    add(store, 40, 50)
    listing = store.list_idle_sessions

    def list_and_come_back(**asked: Any) -> Any:
        listed = listing(**asked)
        store.append([received("back", "40", NOW, 10)])
        return listed

    store.list_idle_sessions = list_and_come_back  # type: ignore[method-assign]
    assert enforce(store, Retention(timedelta(days=30)), NOW).sessions == 1
    assert store.count_events() == 3


def of_app(app: str, count: int, size: int, at: datetime, each: int = 5) -> list[ReceivedEvent]:
    """Make sessions of an app, received now whatever they say."""
    made = [received(f"{app}-{n}", f"{app}{n // each}", at, size) for n in range(count)]
    now_us = int(NOW.timestamp()) * 1_000_000
    events = [{**one.event, "app": app} for one in made]
    return [ReceivedEvent(json.dumps(event).encode(), event, now_us) for event in events]


FUTURE = datetime(2261, 1, 1, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize("at", [FUTURE, NOW, NOW - timedelta(days=300)])
@pytest.mark.parametrize(("count", "size"), [(50, 200_000), (2000, 4_000)])
def test_an_app_that_fills_the_store_costs_no_other_its_sessions(
    store: Store, at: datetime, count: int, size: int
) -> None:
    store.append(of_app("small", 100, 1_000, NOW - timedelta(days=10)))
    store.append(of_app("large", count, size, at))
    before = {each.app: each.events for each in store.measure_apps()}
    retention = Retention(max_bytes=5 * MB)
    foreseen = foresee(store, retention, NOW)
    removed = enforce(store, retention, NOW)
    after = {each.app: each.events for each in store.measure_apps()}
    assert store.size_bytes() <= 5 * MB
    assert after["small"] == before["small"]
    assert 0 < after["large"] < before["large"]
    assert removed.events == pytest.approx(foreseen.events, rel=0.25)


def test_of_two_large_apps_both_make_room(store: Store) -> None:
    for app, count in (("a", 40), ("b", 30), ("small", 1)):
        store.append(of_app(app, count, 200_000, NOW, each=1))
    enforce(store, Retention(max_bytes=5 * MB), NOW)
    left = {each.app: each.events for each in store.measure_apps()}
    assert left["small"] == 1
    assert left["a"] == pytest.approx(left["b"], abs=3)


def test_a_session_with_a_future_time_ages_from_its_receipt(store: Store) -> None:
    store.append(of_app("ahead", 5, 10, FUTURE))
    keep = Retention(max_age=timedelta(days=30))
    assert enforce(store, keep, NOW + timedelta(days=29)).events == 0
    assert enforce(store, keep, NOW + timedelta(days=31)).events == 5


def test_a_store_within_its_limits_is_left_alone(store: Store) -> None:
    add(store, *range(5))
    assert enforce(store, Retention(timedelta(days=30), 100 * MB), NOW).sessions == 0


@pytest.mark.parametrize(
    "retention",
    [
        Retention(max_age=timedelta(days=20)),
        Retention(max_bytes=5 * MB),
        Retention(timedelta(days=35), 6 * MB),
    ],
)
def test_the_preview_of_retention_is_close_to_the_result(
    store: Store, retention: Retention
) -> None:
    add(store, *range(40), size=200_000)
    foreseen = foresee(store, retention, NOW)
    assert store.count_events() == 80
    assert enforce(store, retention, NOW).sessions == pytest.approx(foreseen.sessions, abs=3)


@pytest.mark.parametrize(
    "limits",
    [{"max_age": timedelta(0)}, {"max_age": timedelta(-1)}, {"max_bytes": 1}, {"max_bytes": -1}],
)
def test_a_limit_that_keeps_nothing_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Retention(**limits)


# While a server runs


def test_a_server_deletes_what_is_too_old_by_itself(
    start_server: Callable[..., Wire], store: Store
) -> None:
    add(store, 40)
    add(store, *[(NOW - datetime.now(UTC)).days])  # now
    wire = start_server(retention_days=30.0)
    eventually(lambda: len(wire.get("/api/v1/sessions").json["items"]) == 1)


def test_a_server_keeps_all_unless_it_is_told(
    start_server: Callable[..., Wire], store: Store
) -> None:
    add(store, 4000)
    keeper = RetentionKeeper(store, Retention())
    keeper.start()
    keeper.close()
    assert len(start_server().get("/api/v1/sessions").json["items"]) == 1


@pytest.mark.parametrize("setting", [{"retention_days": 0.0}, {"max_store_bytes": 7}])
def test_a_server_with_a_limit_that_keeps_nothing_does_not_start(
    setting: dict[str, Any], start_server: Callable[..., Wire], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError):
        start_server(**setting)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_logged_and_tried_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    add(store, 40)
    failures = iter([OSError("disk full")])

    def clock() -> datetime:
        for failure in failures:
            raise failure
        return NOW

    keeper = RetentionKeeper(store, Retention(timedelta(days=30)), interval=0.01, clock=clock)
    with caplog.at_level(logging.INFO, "sessionbat.server"):
        keeper.start()
        eventually(lambda: not left(store))
        eventually(lambda: "deleted 1 sessions with 2 events" in caplog.text)
        keeper.close()
    assert "disk full" in caplog.text


def test_a_stop_does_not_wait_for_the_whole_deletion(store: Store) -> None:
    add(store, *range(40, 340))
    keeper = RetentionKeeper(store, Retention(timedelta(days=30)), clock=lambda: NOW)
    deleting = store.delete_sessions

    def stop_meanwhile(*arguments: Any, on_progress: Any, **more: Any) -> Any:
        keeper._thread.stop_soon()
        return deleting(*arguments, on_progress=on_progress, **more)

    store.delete_sessions = stop_meanwhile  # type: ignore[method-assign]
    others = {*threading.enumerate()}  # of servers that other tests run
    keeper.start()
    eventually(lambda: not {each for each in threading.enumerate() if each not in others})
    assert left(store)


class Turns(RetentionKeeper):
    """A keeper that looks at the size often and at all else once an hour; it counts its turns."""

    turns = 0

    def _enforce(self) -> None:
        super()._enforce()
        self.turns += 1


@pytest.fixture
def keeper(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    monkeypatch.setattr(retention, "_LOOK", 0.01)
    keeper = Turns(store, Retention(max_bytes=8 * MB), interval=3600, clock=lambda: NOW)
    keeper.start()
    eventually(lambda: keeper.turns == 1)
    yield keeper
    keeper.close()


def test_a_store_that_grows_too_large_is_not_left_so_until_the_next_hour(
    store: Store, keeper: Turns
) -> None:
    add(store, *range(20), size=MB)
    eventually(lambda: keeper.turns > 1)
    eventually(lambda: store.size_bytes() <= 8 * MB)
    assert left(store)


def test_a_store_that_stays_within_its_size_is_not_gone_through(
    store: Store, keeper: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(store, monkeypatch)
    add(store, 1, 2, size=MB)
    eventually(lambda: len(looks) > 5)
    assert keeper.turns == 1


def test_a_store_too_large_with_nothing_to_delete_is_gone_through_once_it_has_grown(
    store: Store, keeper: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [9 * MB]
    monkeypatch.setattr(store, "size_bytes", lambda: sizes[-1])
    eventually(lambda: keeper.turns == 2)
    looks = count_looks(store, monkeypatch)
    eventually(lambda: len(looks) > 5)
    assert keeper.turns == 2
    sizes.append(10 * MB)
    eventually(lambda: keeper.turns == 3)


def count_looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    looks: list[int] = []
    size_bytes = store.size_bytes

    def counted() -> int:
        looks.append(size_bytes())
        return looks[-1]

    monkeypatch.setattr(store, "size_bytes", counted)
    return looks
