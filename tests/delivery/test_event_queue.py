"""The queue of one worker: when it hands out what, when it says no, and what it counts."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from sessionbat._delivery import event_queue
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.segment import Extent, Segment
from sessionbat.accounting import Ledger

NOWHERE = Extent(None, 0, 0, 3, 0)  # type: ignore[arg-type] # never read


@pytest.fixture
def queue() -> EventQueue:
    return EventQueue()


@pytest.fixture
def ledger(queue: EventQueue) -> Ledger:
    return Ledger(queue.lock)


def put(queue: EventQueue, ledger: Ledger, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        assert queue.put(ledger, b'{"id":"%d"}' % number)


def take(queue: EventQueue) -> Batch:
    batch = queue.take()
    assert batch is not None
    return batch


def spool(queue: EventQueue, batch: Batch, extent: Extent = NOWHERE) -> None:
    chunk = queue.chunk(batch)
    assert chunk is not None
    assert queue.note_spooled(chunk, extent)


def test_events_come_out_once_in_order(queue: EventQueue, ledger: Ledger) -> None:
    put(queue, ledger, 2500)
    queue.stop()
    bodies = []
    while (batch := queue.take()) is not None:
        bodies.append(batch.body())
    assert b"".join(bodies) == b"".join(b'{"id":"%d"}\n' % n for n in range(2500))
    assert len(bodies) == 3


def test_events_are_handed_out_after_a_short_linger(queue: EventQueue, ledger: Ledger) -> None:
    started = time.monotonic()
    put(queue, ledger, 3)
    assert take(queue).count == 3
    assert time.monotonic() - started >= event_queue.LINGER_S


def test_a_flush_ends_the_linger_of_what_came_before_it(
    queue: EventQueue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "LINGER_S", 3600)
    put(queue, ledger, 3)
    queue.wait_until_settled(ledger, 0)
    assert take(queue).count == 3


def test_a_batch_never_holds_more_bytes_than_it_may(queue: EventQueue, ledger: Ledger) -> None:
    for _ in range(9):
        assert queue.put(ledger, b"x" * 1_000_000)
    assert queue.put(ledger, b"y" * 6_000_000)
    queue.stop()
    counts = [take(queue).count for _ in range(4)]
    assert counts == [4, 4, 1, 1]


def test_a_full_queue_says_no_and_counts_only_what_it_took() -> None:
    queue = EventQueue(max_bytes=1000)
    ledger = Ledger(queue.lock)
    taken = [queue.put(ledger, b"x" * 99) for _ in range(12)]
    assert taken == [True] * 10 + [False] * 2
    assert ledger.recorded == 10
    queue.settle(take(queue), 0, 10)
    assert queue.put(ledger, b"x" * 99), "room again"


def test_a_stopped_queue_hands_out_what_is_left_and_then_nothing(
    queue: EventQueue, ledger: Ledger
) -> None:
    queue.has_taker = True
    put(queue, ledger, 5)
    queue.stop()
    assert take(queue).count == 5
    assert queue.take() is None
    assert not queue.has_taker


def test_a_batch_of_a_dead_worker_is_handed_out_again(queue: EventQueue, ledger: Ledger) -> None:
    put(queue, ledger, 2500)
    first = take(queue)
    queue.put_back()
    queue.stop()
    assert take(queue) is first
    assert [take(queue).count for _ in range(2)] == [1000, 500]


def test_settled_events_are_not_handed_out_again(queue: EventQueue, ledger: Ledger) -> None:
    put(queue, ledger, 2500)
    queue.settle(take(queue), 0, 1000)
    queue.put_back()
    queue.stop()
    assert [take(queue).count for _ in range(2)] == [1000, 500]


def test_settling_twice_counts_once(queue: EventQueue, ledger: Ledger) -> None:
    put(queue, ledger, 10)
    queue.stop()
    batch = take(queue)
    queue.settle(batch, 2, 1, dropped="refused:x")
    queue.settle(batch, 0, 10)
    queue.settle(batch, 0, 10)
    stats = ledger.stats()
    assert (stats.delivered, stats.dropped, stats.pending) == (9, {"refused:x": 1}, 0)


def test_an_event_given_up_stays_given_up_when_its_answer_comes(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 10)
    queue.stop()
    batch = take(queue)
    assert queue.drop([batch], "spool-full")[0] == 10
    queue.settle(batch, 0, 10)
    assert ledger.stats().dropped == {"spool-full": 10}
    assert ledger.stats().delivered == 0
    assert queue.bytes_held == 0


def test_events_put_after_the_open_batch_was_dropped_are_handed_out(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 10)
    queue.drop(queue.unsettled(), "spool-full")
    put(queue, ledger, 5, first=10)
    assert not queue.is_empty
    batch = take(queue)
    assert batch.body() == b"".join(b'{"id":"%d"}\n' % n for n in range(10, 15))
    queue.settle(batch, 0, batch.count)
    assert ledger.stats()[:3] == (15, 5, 0)
    assert queue.is_empty


def test_events_put_after_the_unspooled_were_dropped_are_counted(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 10)
    assert queue.drop_unspooled("exit") == 10
    put(queue, ledger, 5, first=10)
    assert not queue.is_empty
    assert queue.drop_unspooled("exit") == 5
    assert ledger.stats().dropped == {"exit": 15}


def test_only_what_is_not_on_disk_is_given_up_at_the_end(queue: EventQueue, ledger: Ledger) -> None:
    put(queue, ledger, 10)
    [batch] = queue.unspooled(0)
    spool(queue, batch)
    put(queue, ledger, 3, first=10)
    assert queue.drop_unspooled("exit") == 3
    stats = ledger.stats()
    assert (stats.spooled, stats.dropped) == (10, {"exit": 3})


def test_events_are_asked_for_disk_once_they_are_old_enough(ledger: Ledger) -> None:
    now = 100.0
    queue = EventQueue(clock=lambda: now)
    put(queue, ledger, 3)
    assert queue.unspooled(0.15) == []
    now += 0.16
    [batch] = queue.unspooled(0.15)
    spool(queue, batch)
    assert queue.unspooled(0.15) == []
    put(queue, ledger, 1, first=3)
    chunk = queue.chunk(batch)
    assert chunk is not None
    assert chunk.body == b'{"id":"3"}\n'


def test_events_delivered_while_they_were_written_are_not_spooled(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 3)
    queue.stop()
    batch = take(queue)
    chunk = queue.chunk(batch)
    assert chunk is not None
    queue.settle(batch, 0, 3)
    assert not queue.note_spooled(chunk, NOWHERE)
    assert (ledger.spooled, ledger.delivered) == (0, 3)


def test_spooled_events_are_released_from_disk_once_all_of_their_batch_are_settled(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 3)
    queue.stop()
    batch = take(queue)
    spool(queue, batch)
    assert queue.settle(batch, 0, 1) == ([(NOWHERE, 0, 1)], [])
    assert (ledger.spooled, ledger.delivered) == (2, 1)
    assert queue.settle(batch, 1, 2) == ([], [NOWHERE])
    assert (ledger.spooled, ledger.delivered) == (0, 3)


def test_batches_are_packed_once_much_waits(
    queue: EventQueue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "PACK_ABOVE_BYTES", 100_000)
    for _ in range(5000):
        assert queue.put(ledger, b"x" * 1000)
    assert queue.bytes_held < 1_500_000
    queue.stop()
    sizes = [len(take(queue).body()) for _ in range(5)]
    assert sum(sizes) == 5000 * 1001


def test_spooled_events_leave_memory_once_many_wait(
    queue: EventQueue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(event_queue, "RELEASE_ABOVE_BYTES", 100_000)
    segment = Segment.create(tmp_path)
    for _ in range(3):
        assert queue.put(ledger, os.urandom(1_600_000).hex().encode())
    for batch in queue.unspooled(0):
        chunk = queue.chunk(batch)
        assert chunk is not None
        spool(queue, batch, segment.append(chunk.body, chunk.events))
    assert queue.bytes_held < 4_000_000, "only the open batch"
    queue.stop()
    assert [len(take(queue).body()) for _ in range(3)] == [3_200_001] * 3


def test_adopted_events_are_sent_when_nothing_else_is_ready(
    queue: EventQueue, ledger: Ledger, tmp_path: Path
) -> None:
    adopted = Ledger(queue.lock)
    put(queue, ledger, 1000)
    old_line = b'{"id":"old"}\n'
    queue.offer([Batch.adopted(adopted, [(Segment.create(tmp_path).append(old_line, 1), set())])])
    queue.stop()
    own, old = take(queue), take(queue)
    assert (own.count, old.body()) == (1000, old_line)
    assert not queue.is_empty


def test_no_flush_waits_for_adopted_events(queue: EventQueue, ledger: Ledger) -> None:
    queue.offer([Batch.adopted(Ledger(queue.lock), [(NOWHERE, set())])])
    started = time.monotonic()
    assert queue.wait_until_settled(ledger, 5) == (0, 0, 0)
    assert time.monotonic() - started < 1


def test_a_flush_waits_for_what_came_before_it_and_for_nothing_else(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 7)
    answers: list[tuple[int, ...]] = []
    flush = threading.Thread(target=lambda: answers.append(queue.wait_until_settled(ledger, 5)))
    flush.start()
    batch = take(queue)
    put(queue, ledger, 3, first=7)
    assert not answers
    queue.settle(batch, 0, 7)
    flush.join(5)
    assert answers == [(7, 0, 0)]
    assert ledger.stats().pending == 3


def test_the_counts_of_two_ledgers_stay_apart(queue: EventQueue) -> None:
    first, second = Ledger(queue.lock), Ledger(queue.lock)
    for _ in range(50):
        put(queue, first, 3)
        put(queue, second, 2)
    queue.stop()
    batch = take(queue)
    queue.settle(batch, 0, 100)
    assert (first.delivered, second.delivered) == (60, 40)
    queue.settle(batch, 0, 250)
    assert (first.delivered, second.delivered) == (150, 100)


def test_many_threads_put_and_every_event_comes_out_once(queue: EventQueue) -> None:
    ledgers = [Ledger(queue.lock) for _ in range(8)]
    threads = [
        threading.Thread(target=put, args=(queue, ledger, 2000, 2000 * number))
        for number, ledger in enumerate(ledgers)
    ]
    for thread in threads:
        thread.start()
    lines: list[bytes] = []
    while len(lines) < 16_000:
        batch = take(queue)
        lines += batch.body().splitlines()
        queue.settle(batch, 0, batch.count)
    for thread in threads:
        thread.join()
    assert sorted(lines) == sorted(b'{"id":"%d"}' % number for number in range(16_000))
    assert [ledger.stats()[:3] for ledger in ledgers] == [(2000, 2000, 0)] * 8
    assert queue.is_empty
    assert queue.bytes_held == 0


def test_a_put_that_interrupts_a_put_of_the_same_thread_is_taken_after_it(
    queue: EventQueue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Batch.append

    def interrupted(batch: Batch, owner: Ledger, line: bytes) -> None:
        if line == b"first":
            assert queue.put(ledger, b"second")
        append(batch, owner, line)

    monkeypatch.setattr(Batch, "append", interrupted)
    assert queue.put(ledger, b"first")
    assert take(queue).body() == b"first\nsecond\n"
    assert ledger.recorded == 2


def test_a_wait_for_progress_ends_with_the_first_settled_event(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 10)
    batch = take(queue)
    threading.Timer(0.05, queue.settle, (batch, 0, 1)).start()
    started = time.monotonic()
    assert queue.wait_for_progress(5)
    assert time.monotonic() - started < 2
    assert not queue.wait_for_progress(0.05)


def test_an_adopted_batch_in_an_empty_queue_counts_as_progress(
    queue: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(queue.lock)

    def offered_meanwhile(timeout: float) -> None:
        queue.lock.release()
        queue.offer([Batch.adopted(ledger, [(NOWHERE, set())])])
        queue.lock.acquire()

    monkeypatch.setattr(queue._settled, "wait", offered_meanwhile)
    assert queue.wait_for_progress(0.05), "the end of a process gave up what it had just found"
    assert not queue.is_empty


def test_stopping_ends_a_pause(queue: EventQueue) -> None:
    pause = threading.Thread(target=queue.pause, args=(60,))
    pause.start()
    queue.stop()
    pause.join(5)
    assert not pause.is_alive()


def test_the_keepers_wait_ends_when_something_is_old_enough_or_the_queue_stops(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 1)
    assert queue.wait_until_older(0.05)
    spool(queue, queue.unspooled(0)[0])
    queue.settle(take(queue), 0, 1)
    answers: list[bool] = []
    keeper = threading.Thread(target=lambda: answers.append(queue.wait_until_older(0.05)))
    keeper.start()
    keeper.join(0.2)
    assert not answers, "nothing is left to be written"
    queue.stop()
    keeper.join(5)
    assert answers == [False]
    assert not queue.has_keeper


def test_the_keepers_wait_ends_when_the_last_spooled_event_is_settled_after_a_stop(
    queue: EventQueue, ledger: Ledger
) -> None:
    put(queue, ledger, 1)
    spool(queue, queue.unspooled(0)[0])
    batch = take(queue)
    queue.stop()
    answers: list[bool] = []
    keeper = threading.Thread(target=lambda: answers.append(queue.wait_until_older(0.0)))
    keeper.start()
    keeper.join(0.2)
    assert not answers, "the event may still be delivered"
    queue.settle(batch, 0, 1)
    keeper.join(5)
    assert answers == [False]


def test_a_keeper_that_writes_at_once_waits_without_spinning(
    ledger: Ledger, queue: EventQueue
) -> None:
    put(queue, ledger, 1)
    spool(queue, queue.unspooled(0)[0])
    keeper = threading.Thread(target=queue.wait_until_older, args=(0.0,))
    before = time.process_time()
    keeper.start()
    keeper.join(0.2)
    assert keeper.is_alive()
    assert time.process_time() - before < 0.1
    put(queue, ledger, 1, first=1)
    keeper.join(5)
    assert not keeper.is_alive()


@pytest.mark.parametrize("joins", [True, False], ids=["the-open-batch", "a-new-batch"])
def test_the_keepers_wait_ends_for_what_comes_after_everything_was_written(
    queue: EventQueue, ledger: Ledger, joins: bool
) -> None:
    put(queue, ledger, 1)
    spool(queue, queue.unspooled(0)[0])
    if not joins:
        take(queue)
    keeper = threading.Thread(target=queue.wait_until_older, args=(0.05,))
    keeper.start()
    keeper.join(0.2)
    assert keeper.is_alive()
    put(queue, ledger, 1, first=1)
    keeper.join(5)
    assert not keeper.is_alive()


def test_a_put_that_interrupts_a_copy_for_the_disk_is_taken_after_it(
    queue: EventQueue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(queue, ledger, 1)
    copy = Batch.unspooled

    def interrupted(batch: Batch) -> bytes:
        assert queue.put(ledger, b"late")
        return copy(batch)

    monkeypatch.setattr(Batch, "unspooled", interrupted)
    [batch] = queue.unspooled(0)
    chunk = queue.chunk(batch)
    assert chunk is not None
    assert (chunk.body, chunk.events) == (b'{"id":"0"}\n', 1)
    assert batch.body() == b'{"id":"0"}\nlate\n'
