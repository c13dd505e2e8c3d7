"""The keeper: who waits for whom, and that there is only ever one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat._delivery.batch import Batch
from sessionbat._delivery.event_queue import EventQueue
from sessionbat._delivery.keeper import Keeper
from sessionbat._delivery.notices import Notices
from sessionbat._delivery.spool import Spool
from sessionbat.accounting import Ledger
from sessionbat.testing import Answer, Endpoint, receipt
from tests.conftest import eventually


@pytest.fixture
def queue() -> EventQueue:
    return EventQueue()


@pytest.fixture
def keeper(queue: EventQueue, tmp_path: Path) -> Keeper:
    return Keeper(queue, Spool(tmp_path / "spool", {}), Notices("http://127.0.0.1:1/"))


def test_it_never_waits_for_its_thread_where_that_waits_for_the_queue(
    queue: EventQueue, keeper: Keeper
) -> None:
    """As when a signal handler records while its thread is in the middle of ``put``."""
    assert queue.put(Ledger(queue.lock), b"{}")
    kept = threading.Event()

    def interrupted() -> None:
        with queue.lock:
            threading.Thread(target=keeper.keep, daemon=True).start()
            eventually(lambda: not keeper._writing.acquire(blocking=False))
            keeper.keep()
        kept.set()

    threading.Thread(target=interrupted, daemon=True).start()
    assert kept.wait(5)
    eventually(lambda: not queue.unspooled(0))


def test_a_write_that_is_interrupted_by_a_record_goes_on_to_it(
    queue: EventQueue, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(queue.lock)
    append = Spool.append
    late = iter([b'{"late":1}'])

    def interrupted(spool: Spool, body: bytes, count: int) -> object:
        for line in late:
            queue.put(ledger, line)
            keeper.keep()
        return append(spool, body, count)

    monkeypatch.setattr(Spool, "append", interrupted)
    queue.put(ledger, b"{}")
    assert keeper.keep()
    assert ledger.spooled == 2


def test_there_is_one_keeper_however_many_clients_come_and_go(
    endpoint: Endpoint, new_client: Callable[..., SessionBat]
) -> None:
    """Each request of a server may make a client and close it."""

    def slow(request: object) -> Answer:
        answer = receipt(request)  # type: ignore[arg-type]
        answer.delay_s = 0.2
        return answer

    endpoint.behave = slow
    before = Counter(thread.name for thread in threading.enumerate())  # of other tests
    for _ in range(6):
        client = new_client()
        client.session().interaction().llm(input="hello")
        client.close(5)
        more = Counter(thread.name for thread in threading.enumerate()) - before
        assert more["sessionbat-keeper"] <= 1
        assert more["sessionbat-worker"] <= 1


def test_a_keeper_outlives_an_error_that_nobody_expected(
    endpoint: Endpoint, client: SessionBat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionbat._delivery.keeper.DISK_RETRY_S", 0.1)
    endpoint.behave = lambda request: Answer(503)
    append = Spool.append
    errors = iter([MemoryError("no memory")])

    def fail_once(spool: Spool, body: bytes, count: int) -> object:
        for error in errors:
            raise error
        return append(spool, body, count)

    monkeypatch.setattr(Spool, "append", fail_once)
    client.session().interaction().llm(input="hello")
    eventually(lambda: client.stats().spooled == 1)


def test_what_is_being_adopted_is_still_to_come(
    queue: EventQueue, keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a process ends between taking a segment over and sending what is in it."""
    left = Spool(tmp_path / "spool", {})
    left.append(b'{"id":"old"}\n', 1)
    left.close()
    told: list[bool] = []
    offer = queue.offer

    def offered(batches: list[Batch]) -> None:
        told.append(keeper.may_find_more())
        offer(batches)

    monkeypatch.setattr(queue, "offer", offered)
    assert keeper.adopt_next()
    assert told == [True]
    assert not keeper.may_find_more()
    assert not queue.is_empty
