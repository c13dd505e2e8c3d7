"""Who shares a commit, and what a failure in one means for the others."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.ingest import group_commit as group_commit_module
from sessionbat.server.ingest.body import Body, Decode, Decoded, decode_body
from sessionbat.server.ingest.decoder_thread import SMALL, DecodedRequest, Decoding
from sessionbat.server.ingest.group_commit import (
    MAX_COMMIT_WORK,
    MAX_PART_WORK,
    GroupCommit,
    Stored,
)
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.web.refusal import Refused
from tests.conftest import eventually
from tests.server.wire import event, ndjson

Result = TypeVar("Result")


class Ready(NamedTuple):
    """An event as ``GatedStore`` prepares it: one named ``heavy…`` fills a commit by itself."""

    id: str

    @property
    def work(self) -> int:
        return MAX_COMMIT_WORK if self.id.startswith("heavy") else 1


class GatedStore:
    """Holds each append until the gate is open; chokes on a batch with an event named ``bad``."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.prepared: list[str] = []
        self.asked_to_prepare_nothing = threading.Event()
        self.appended: list[list[str]] = []

    def prepare(self, events: Sequence[ReceivedEvent]) -> Sequence[Ready]:
        self.prepared += [received.event["id"] for received in events]
        if not events:
            self.asked_to_prepare_nothing.set()
        return [Ready(received.event["id"]) for received in events]

    def append(self, events: Sequence[Ready]) -> list[bool]:
        self.entered.set()
        assert self.gate.wait(20)
        ids = [ready.id for ready in events]
        assert set(ids) <= set(self.prepared)
        if "bad" in ids:
            raise OverflowError("chokes")
        self.appended.append(ids)
        return [True] * len(ids)


def decode(body: Body, *, received_at_us: int) -> Decoded:
    limits = {"max_bytes": 2 * 10**6, "max_events": 100}
    return decode_body(body, is_ndjson=True, received_at_us=received_at_us, **limits)


def body(*ids: str, by: Decode = decode) -> Body:
    return Body(ndjson(*(event(each) for each in ids)), "identity", by)


def large_body(*ids: str, by: Decode = decode) -> Body:
    return Body(ndjson(*(event(each, padding="x" * SMALL) for each in ids)), "identity", by)


async def commit_during_another(
    group_commit: GroupCommit, store: GatedStore, *bodies: Body
) -> list[Stored | BaseException]:
    """Commit ``first``; while that one is under way, the others; give what became of all."""
    first = asyncio.create_task(group_commit.commit(body("first")))
    await asyncio.to_thread(store.entered.wait, 20)
    others = [asyncio.create_task(group_commit.commit(each)) for each in bodies]
    # Bodies are decoded one after the other: once this one is, what came before waits for a commit.
    last = asyncio.create_task(group_commit.commit(body()))
    await asyncio.to_thread(store.asked_to_prepare_nothing.wait, 20)
    store.gate.set()
    results = await asyncio.wait_for(asyncio.gather(first, *others, return_exceptions=True), 20)
    await last
    return results


def run_loop(scenario: Coroutine[Any, Any, Result]) -> Result:
    # In a thread of its own: the browser of the pages' tests keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, scenario).result(30)


def test_a_small_body_does_not_wait_for_the_large_ones_before_it() -> None:
    store = GatedStore()

    def slow(each: Body, *, received_at_us: int) -> Decoded:
        if len(each.data) > SMALL:
            time.sleep(0.15)  # the work of a large body
        return decode(each, received_at_us=received_at_us)

    large = [large_body(f"l{n}", by=slow) for n in range(3)]
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    try:
        run_loop(commit_during_another(group_commit, store, *large, body("small")))
    finally:
        group_commit.close()
    # The first of the large ones may have been decoded already when the small one came.
    assert store.prepared.index("small") < store.prepared.index("l1")
    assert "small" in store.appended[1]
    assert "l1" not in store.appended[1]


def test_no_more_is_decoded_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionbat.server.ingest.group_commit._MAX_GROUP_BYTES", SMALL)
    store = GatedStore()
    group_commit = GroupCommit(store)  # type: ignore[arg-type]

    async def scenario() -> None:
        first = asyncio.create_task(group_commit.commit(body("first")))
        await asyncio.to_thread(store.entered.wait, 20)
        others = [asyncio.create_task(group_commit.commit(large_body(name))) for name in "abcd"]
        small = asyncio.create_task(group_commit.commit(body("small")))
        await asyncio.to_thread(eventually, lambda: len(store.prepared) >= 3)
        # One waits for its commit, the others for room; a small one needs none.
        assert sorted(store.prepared) == ["a", "first", "small"]
        store.gate.set()
        await asyncio.wait_for(asyncio.gather(first, small, *others), 20)

    run_loop(scenario())
    group_commit.close()
    assert store.appended[0] == ["first"]
    assert sorted(store.appended[1]) == ["a", "small"]
    assert store.appended[2:] == [["b"], ["c"], ["d"]]


def test_closing_stores_what_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionbat.server.ingest.group_commit._MAX_GROUP_BYTES", 1)
    store = GatedStore()
    group_commit = GroupCommit(store)  # type: ignore[arg-type]

    async def scenario() -> list[Stored]:
        commits = [asyncio.create_task(group_commit.commit(large_body(name))) for name in "abcd"]
        await asyncio.to_thread(store.entered.wait, 20)
        threading.Timer(0.2, store.gate.set).start()
        await asyncio.to_thread(group_commit.close)
        return await asyncio.gather(*commits)

    assert [stored.accepted for stored in run_loop(scenario())] == [1, 1, 1, 1]


def test_a_heavy_request_is_stored_in_parts_and_small_ones_go_between() -> None:
    store = GatedStore()
    results = run(store, body("heavy-1", "heavy-2", "heavy-3", "light"), body("a"), body("b"))
    assert [result.accepted for result in results] == [1, 4, 1, 1]
    assert store.appended == [
        ["first"],
        ["heavy-1"],
        ["a", "b"],
        ["heavy-2"],
        ["heavy-3"],
        ["light"],
    ]


HALF = MAX_PART_WORK // 2


@pytest.mark.parametrize(
    ("work", "parts"),
    [
        ((MAX_PART_WORK, MAX_PART_WORK, 1), [["a"], ["b"], ["c"]]),
        ((HALF, HALF, MAX_COMMIT_WORK), [["a", "b"], ["c"]]),
        ((HALF + 1, HALF, MAX_COMMIT_WORK), [["a"], ["b"], ["c"]]),
        ((MAX_PART_WORK, MAX_PART_WORK, 0), [["a", "b", "c"]]),  # fits a commit: not divided
    ],
)
def test_a_part_of_a_request_is_half_as_much_as_a_commit(
    work: tuple[int, int, int], parts: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = {"first": 1, **dict(zip("abc", work, strict=True))}
    monkeypatch.setattr(Ready, "work", property(lambda self: works[self.id]))
    store = GatedStore()
    run(store, body("a", "b", "c"))
    assert store.appended == [["first"], *parts]


def test_each_of_two_heavy_requests_gets_its_own_result() -> None:
    store = GatedStore()
    _, one, bad, other = run(
        store, body("heavy-1", "heavy-2"), body("heavy-3", "bad"), body("heavy-4")
    )
    assert (one.accepted, other.accepted) == (2, 1)
    assert isinstance(bad, OverflowError)


def test_a_commit_takes_no_more_than_fits() -> None:
    store = GatedStore()
    run(store, body("heavy-1"), body("heavy-2"), body("a"))
    assert store.appended == [["first"], ["heavy-1"], ["heavy-2"], ["a"]]


def test_the_work_of_an_event_is_estimated_once_however_long_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Ready, "work", property(lambda self: asked.append(self.id) or 60_000))
    store = GatedStore()
    run(store, body("a"), body("b"), body("c"))
    assert store.appended == [["first"], ["a"], ["b"], ["c"]]
    assert sorted(asked) == ["a", "b", "c", "first"]


def test_a_body_that_inflates_to_much_goes_after_the_small_ones() -> None:
    store = GatedStore()
    hidden = Body(gzip.compress(large_body("hidden").data), "gzip", decode)
    assert len(hidden.data) < 1000
    small_is_decoded = threading.Event()

    def waiting(each: Body, *, received_at_us: int) -> Decoded:
        if each.data == hidden.data:  # decoded where small ones do not wait for it
            assert small_is_decoded.wait(20)
        decoded = decode(each, received_at_us=received_at_us)
        if decoded.events and decoded.events[0].event["id"] == "small":
            small_is_decoded.set()
        return decoded

    bodies = (hidden._replace(decode=waiting), body("small", by=waiting))
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    try:
        run_loop(commit_during_another(group_commit, store, *bodies))
    finally:
        group_commit.close()
    assert small_is_decoded.is_set()
    assert sorted(store.prepared) == ["first", "hidden", "small"]


def run(store: GatedStore, *bodies: Body) -> list[Stored | BaseException]:
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    try:
        return run_loop(commit_during_another(group_commit, store, *bodies))
    finally:
        group_commit.close()


def test_requests_that_arrive_during_a_commit_share_the_next_one() -> None:
    store = GatedStore()
    run(store, body("a", "b"), body("c"), body("d"))
    assert store.appended == [["first"], ["a", "b", "c", "d"]]


def test_each_request_is_told_of_its_own_events() -> None:
    results = run(GatedStore(), body("a", "b"), body("c"), body())
    assert [result.accepted for result in results] == [1, 2, 1, 0]


def test_a_request_that_the_store_chokes_on_fails_alone() -> None:
    store = GatedStore()
    _, good, bad, also_good = run(store, body("a"), body("bad"), body("c"))
    assert (good.accepted, also_good.accepted) == (1, 1)
    assert isinstance(bad, OverflowError)
    assert store.appended == [["first"], ["a"], ["c"]]


def test_a_body_that_cannot_be_read_fails_alone() -> None:
    _, good, bad = run(GatedStore(), body("a"), Body(b"x", "gzip", decode))
    assert good.accepted == 1
    assert isinstance(bad, Refused)


def test_a_defect_in_decoding_fails_one_request_and_not_the_thread() -> None:
    def broken(given: Body, *, received_at_us: int) -> Decoded:
        raise RuntimeError("defect")

    store = GatedStore()
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    defect = Body(b"defect", "identity", broken)
    _, bad, good = run_loop(commit_during_another(group_commit, store, defect, body("a")))
    group_commit.close()
    assert isinstance(bad, RuntimeError)
    assert good.accepted == 1


def test_a_request_that_was_given_up_disturbs_nobody() -> None:
    store = GatedStore()
    group_commit = GroupCommit(store)  # type: ignore[arg-type]

    async def scenario() -> Stored:
        first = asyncio.create_task(group_commit.commit(body("first")))
        await asyncio.to_thread(store.entered.wait, 20)
        given_up = asyncio.create_task(group_commit.commit(body("a")))
        beside_it = asyncio.create_task(group_commit.commit(body("b")))
        await asyncio.sleep(0)
        given_up.cancel()
        store.gate.set()
        await first
        return await asyncio.wait_for(beside_it, 20)

    assert run_loop(scenario()).accepted == 1
    group_commit.close()


def test_closing_stores_what_waits_and_refuses_what_comes_after() -> None:
    store = GatedStore()
    group_commit = GroupCommit(store)  # type: ignore[arg-type]

    async def scenario() -> Stored:
        waiting = asyncio.create_task(group_commit.commit(body("a")))
        await asyncio.to_thread(store.entered.wait, 20)
        second = asyncio.create_task(group_commit.commit(body("b")))
        await asyncio.sleep(0)
        store.gate.set()
        await asyncio.to_thread(group_commit.close)
        with pytest.raises(Refused, match="stopping"):
            await group_commit.commit(body("late"))
        await waiting
        return await second

    assert run_loop(scenario()).accepted == 1
    assert store.appended == [["a"], ["b"]]


def test_a_store_that_fails_is_told_to_every_request_of_the_commit() -> None:
    class FullDisk(GatedStore):
        def append(self, events: Sequence[Ready]) -> list[bool]:
            super().append(events)
            raise StoreError("disk full", slug="store-failed")

    assert all(isinstance(result, StoreError) for result in run(FullDisk(), body("a"), body("b")))


def test_the_log_says_where_it_failed_and_nothing_of_the_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Talkative(GatedStore):
        def append(self, events: Sequence[ReceivedEvent]) -> list[bool]:
            raise ValueError(f"cannot store {events[0].id!r}")

    group_commit = GroupCommit(Talkative())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="s3cret"):
        run_loop(group_commit.commit(body("s3cret")))
    group_commit.close()
    assert "ValueError" in caplog.text
    assert "in append" in caplog.text
    assert "s3cret" not in caplog.text


class TimedStore(GatedStore):
    """Says of each append that it took so long, by the clock that ``group_commit`` goes by."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.gate.set()
        self.now = 0.0
        self.seconds = seconds

    def append(self, events: Sequence[Ready]) -> list[bool]:
        self.now += self.seconds
        return super().append(events)


@pytest.mark.parametrize(
    ("seconds", "most_work"),
    [
        (0.01, MAX_COMMIT_WORK),  # a fast machine does no more at once than may be
        (group_commit_module._COMMIT_SECONDS, MAX_COMMIT_WORK),
        (2 * group_commit_module._COMMIT_SECONDS, MAX_COMMIT_WORK // 2),
        (1_000.0, group_commit_module._LEAST_WORK),
    ],
)
def test_a_commit_that_takes_too_long_makes_the_next_one_shorter(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most_work: int
) -> None:
    store = TimedStore(seconds)
    monkeypatch.setattr(group_commit_module.time, "perf_counter", lambda: store.now)
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    run_loop(group_commit.commit(body("a")))
    group_commit.close()
    assert group_commit._most_work == pytest.approx(most_work, rel=0.01)


def test_commits_grow_again_once_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TimedStore(1_000.0)
    monkeypatch.setattr(group_commit_module.time, "perf_counter", lambda: store.now)
    group_commit = GroupCommit(store)  # type: ignore[arg-type]
    run_loop(group_commit.commit(body("a")))
    store.seconds = 0.01
    for number in range(12):
        run_loop(group_commit.commit(body(f"b{number}")))
    group_commit.close()
    assert group_commit._most_work == MAX_COMMIT_WORK


@pytest.mark.parametrize(
    ("count", "portions"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (10, [3, 3, 3, 1])]
)
def test_decoded_events_are_let_go_once_they_are_prepared(
    monkeypatch: pytest.MonkeyPatch, count: int, portions: list[int]
) -> None:
    monkeypatch.setattr("sessionbat.server.ingest.decoder_thread._AT_ONCE", 3)
    prepared: list[int] = []
    passed_on: list[DecodedRequest] = []

    def prepare(events: Sequence[ReceivedEvent]) -> Sequence[Ready]:
        prepared.append(len(events))
        return [Ready(received.event["id"]) for received in events]

    async def scenario() -> None:
        decoding = Decoding(prepare, passed_on.append)  # type: ignore[arg-type]
        names = [f"e{number}" for number in range(count)]
        decoding.put(body(*names), asyncio.get_running_loop().create_future())
        await asyncio.to_thread(decoding.close)
        (request,) = passed_on
        assert [ready.id for ready in request.events] == names  # type: ignore[attr-defined]
        assert request.decoded.events == []

    run_loop(scenario())
    assert prepared == portions
