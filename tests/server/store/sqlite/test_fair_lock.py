"""Who gets the lock on writing: whoever has waited longest, never whoever asks most often."""

from __future__ import annotations

import threading

import pytest

from sessionbat.server.store.sqlite.fair_lock import FairLock
from tests.conftest import eventually


def waiting(lock: FairLock) -> int:
    return len(lock._waiting)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_waiting_threads_get_the_lock_in_order_of_arrival(count: int) -> None:
    lock, served = FairLock(), list[int]()

    def work(number: int) -> None:
        with lock:
            served.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            eventually(lambda number=number: waiting(lock) == number + 1)
    for thread in threads:
        thread.join()
    assert served == [*range(count)]


def test_one_that_takes_it_again_at_once_lets_the_other_have_it_first() -> None:
    lock, order = FairLock(), list[str]()

    def other() -> None:
        with lock:
            order.append("other")

    thread = threading.Thread(target=other)
    with lock:
        thread.start()
        eventually(lambda: waiting(lock) == 1)
    for _ in range(3):
        with lock:
            order.append("again")
    thread.join()
    assert order == ["other", "again", "again", "again"]


def test_it_is_free_again_after_a_failure() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="fails"), lock:
        raise ValueError("fails")
    with lock:
        assert waiting(lock) == 0


def test_only_one_thread_at_a_time_has_the_lock() -> None:
    lock, inside, most = FairLock(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
