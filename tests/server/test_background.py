"""A thread in the background: started lazily, woken, closed; its failures counted, told seldom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat.errors import StoreError
from sessionbat.server.background import Background, Seldom, describe_failure
from tests.conftest import eventually

LOG = logging.getLogger("sessionbat.server.tests")


class Queue:
    """Takes what it is given in turns, and all of it before it ends."""

    def __init__(self, work: Callable[[int], None] = lambda _: None, **options: Any) -> None:
        self.thread = Background("test-queue", self.turn, failing="work failed", **options)
        self.work = work
        self.waiting: list[int] = []
        self.done: list[int] = []

    def put(self, number: int) -> None:
        with self.thread.changed:
            self.waiting.append(number)
            self.thread.start()
            self.thread.wake()

    def turn(self) -> bool:
        with self.thread.changed:
            self.thread.wait_for(lambda: bool(self.waiting) or self.thread.is_closing)
            if not self.waiting:
                return False
            number = self.waiting.pop(0)
        self.work(number)
        self.done.append(number)
        return True


def of_name(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_there_is_no_thread_before_there_is_work() -> None:
    queue = Queue()
    assert of_name("test-queue") == []
    queue.thread.close()  # and closing what never ran waits for nothing


def test_there_is_one_thread_however_often_it_is_started() -> None:
    queue = Queue()
    starters = [threading.Thread(target=queue.put, args=(n,)) for n in range(20)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    (thread,) = of_name("test-queue")
    assert thread.daemon
    queue.thread.close()
    assert sorted(queue.done) == list(range(20))


def test_a_thread_that_waits_is_woken() -> None:
    queue = Queue()
    for number in range(3):
        queue.put(number)
        eventually(lambda: len(queue.done) == number + 1)  # noqa: B023 - called at once
    queue.thread.close()


def test_closing_waits_for_what_is_to_be_done() -> None:
    begun, gate = threading.Event(), threading.Event()

    def held(_: int) -> None:
        begun.set()
        assert gate.wait(20)

    queue = Queue(held)
    queue.put(1)
    queue.put(2)
    assert begun.wait(20)
    closer = threading.Thread(target=queue.thread.close)
    closer.start()
    eventually(lambda: queue.thread.is_closing)
    assert closer.is_alive()
    gate.set()
    closer.join(20)
    assert (queue.done, of_name("test-queue")) == ([1, 2], [])


def test_a_thread_can_be_closed_twice_and_is_not_started_again() -> None:
    queue = Queue()
    queue.put(1)
    queue.thread.close()
    queue.thread.close()
    queue.put(2)
    assert (queue.done, of_name("test-queue")) == ([1], [])


def test_a_thread_that_was_closed_before_its_start_does_not_start() -> None:
    queue = Queue()
    queue.thread.close()
    queue.put(1)
    assert (queue.done, of_name("test-queue")) == ([], [])


def test_a_pause_ends_with_the_stop() -> None:
    paused = threading.Event()

    def turn() -> bool:
        paused.set()
        return not thread.pause(3600)

    thread = Background("test-pause", turn, failing="")
    thread.start()
    assert paused.wait(20)
    thread.close()
    assert of_name("test-pause") == []


def test_a_pause_that_is_over_says_that_there_is_no_stop() -> None:
    thread = Background("test-pause", lambda: False, failing="")
    assert thread.pause(0.0) is False
    thread.stop_soon()
    assert thread.pause(3600) is True


@pytest.mark.parametrize(
    "error",
    [ValueError("s3cret"), KeyError("s3cret"), MemoryError(), RecursionError("s3cret")],
    ids=repr,
)
def test_a_turn_that_fails_is_counted_and_followed_by_the_next(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(number: int) -> None:
        if number < 3:
            raise error

    queue = Queue(fail, retry_s=0.0, clock=lambda: 0.0)
    for number in range(4):
        queue.put(number)
    eventually(lambda: queue.done == [3])
    assert queue.thread.failures == 3
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("work failed, trying again; failures since the last such line: 1, ")
    assert type(error).__name__ in line
    assert "s3cret" not in line
    queue.thread.close()
    assert "such line: 2, " in caplog.text  # those that were not told yet


def test_failures_are_told_once_a_minute_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]

    def fail(number: int) -> None:
        now[0] = float(number)
        raise StoreError(f"at {number} s", slug="store-failed")

    queue = Queue(fail, retry_s=0.0, clock=lambda: now[0])
    for number in (0, 20, 59, 60, 61, 119, 130):
        queue.put(number)
    eventually(lambda: queue.thread.failures == 7)
    eventually(lambda: len(caplog.records) == 3)
    said = [record.getMessage() for record in caplog.records]
    assert ["at 0 s" in said[0], "at 60 s" in said[1], "at 130 s" in said[2]] == [True] * 3
    assert ["line: 1," in said[0], "line: 3," in said[1], "line: 3," in said[2]] == [True] * 3
    assert all(record.levelname == "ERROR" for record in caplog.records)
    queue.thread.close()


def test_a_failure_that_is_told_elsewhere_is_counted_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: int) -> None:
        raise StoreError("gone", slug="store-gone")

    queue = Queue(fail, retry_s=0.0, is_told=lambda exc: isinstance(exc, StoreError))
    queue.put(1)
    eventually(lambda: queue.thread.failures == 1)
    queue.thread.close()
    assert caplog.records == []


def test_a_thread_whose_turns_always_fail_can_be_closed() -> None:
    calls = []

    def turn() -> bool:
        calls.append(1)
        raise ValueError

    thread = Background("test-failing", turn, failing="", retry_s=0.0)
    thread.start()
    eventually(lambda: len(calls) > 10)
    thread.close()
    assert of_name("test-failing") == []
    assert thread.failures == len(calls)


def test_closing_does_not_wait_for_the_next_try() -> None:
    failed = threading.Event()

    def turn() -> bool:
        failed.set()
        raise OSError("disk full")

    thread = Background("test-failing", turn, failing="", retry_s=3600)
    thread.start()
    assert failed.wait(20)
    thread.close()
    assert thread.failures == 1


def test_a_failure_is_described_without_what_it_may_quote() -> None:
    assert describe_failure(StoreError("the disk is full", slug="store-full")) == (
        "the disk is full [store-full]"
    )
    assert "No space left" in describe_failure(OSError(28, "No space left on device"))
    for error in (ValueError("s3cret"), UnicodeDecodeError("utf-8", b"s3cret", 0, 1, "s3cret")):
        assert "s3cret" not in describe_failure(error)


def test_grouped_counts_are_logged_with_the_last_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    seldom = Seldom(LOG, "bad-key", "%d from %s", level=logging.WARNING, clock=lambda: now)
    for address in ("a", "b", "c"):
        seldom.note(address, about="")
    now = 60.0
    seldom.note("d", about="")
    seldom.note("e", about="")
    seldom.close()
    seldom.close()
    assert [record.getMessage() for record in caplog.records] == [
        "1 from a [bad-key]",
        "3 from d [bad-key]",
        "1 from e [bad-key]",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
