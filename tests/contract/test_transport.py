"""The transport contract, over every transport that is shipped and two that are not.

A case makes its transport, and can stop what is sent through it from arriving. Every case is asked
through a real client, because that is who keeps the promises of a transport that counts nothing.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from sessionbat import SessionBat
from sessionbat.accounting import Stats
from sessionbat.event import EncodedEvent, new_event_id
from sessionbat.testing import Answer, Endpoint, receipt
from sessionbat.transports import (
    CountingTransport,
    IngestionTransport,
    MemoryTransport,
    OTLPTransport,
    StdoutTransport,
    Transport,
)
from tests.collector import Collector, took
from tests.conftest import eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "file_transport.py"


class Case(NamedTuple):
    """A transport under test."""

    transport: Transport
    #: How many events have arrived where the transport brings them.
    arrived: Callable[[], int]
    #: From here on nothing that is sent arrives.
    stop: Callable[[], None]
    #: Let it arrive again; None where what was stopped is dropped for good.
    go_on: Callable[[], None] | None


class Plain:
    """A stranger's transport with the three methods and nothing else."""

    def __init__(self) -> None:
        self.taken: list[EncodedEvent] = []
        self.is_broken = False

    def send(self, event: EncodedEvent) -> None:
        if self.is_broken:
            raise OSError("gone")
        self.taken.append(event)

    def flush(self, timeout: float | None = 30.0) -> None:
        if self.is_broken:
            raise OSError("gone")

    def close(self, timeout: float | None = 30.0) -> None:
        self.flush(timeout)


class BreakableStream(io.StringIO):
    is_broken = False

    def write(self, text: str) -> int:
        if self.is_broken:
            raise BrokenPipeError
        return super().write(text)


class FullMemory(MemoryTransport):
    is_full = False

    def send(self, event: EncodedEvent) -> None:
        if self.is_full:
            raise MemoryError
        super().send(event)


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("file_transport", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ingestion(cleanup: ExitStack, tmp_path: Path, *, spool: bool) -> Case:
    endpoint = cleanup.enter_context(Endpoint())
    transport = IngestionTransport(endpoint=endpoint.url, app="contract", spool=spool)

    def behave_as(behaviour: Callable[..., Answer]) -> Callable[[], None]:
        return lambda: setattr(endpoint, "behave", behaviour)

    return Case(
        transport,
        lambda: len(set(endpoint.acknowledged)),
        behave_as(lambda _: Answer(503, {"Retry-After": "0"})),
        behave_as(receipt),
    )


def otlp(cleanup: ExitStack, tmp_path: Path, *, spool: bool) -> Case:
    collector = cleanup.enter_context(Collector())
    transport = OTLPTransport(collector.url, spool=spool)
    return Case(
        transport,
        lambda: len(set(collector.acknowledged)),
        lambda: setattr(collector, "behave", lambda _: Answer(503, {"Retry-After": "0"})),
        lambda: setattr(collector, "behave", took),
    )


def memory(cleanup: ExitStack, tmp_path: Path) -> Case:
    transport = FullMemory()
    return Case(
        transport,
        lambda: len(transport.events),
        lambda: setattr(transport, "is_full", True),
        None,
    )


def stdout(cleanup: ExitStack, tmp_path: Path) -> Case:
    stream = BreakableStream()
    return Case(
        StdoutTransport(stream),
        lambda: len(stream.getvalue().splitlines()),
        lambda: setattr(stream, "is_broken", True),
        None,
    )


def plain(cleanup: ExitStack, tmp_path: Path) -> Case:
    transport = Plain()
    return Case(
        transport,
        lambda: len(transport.taken),
        lambda: setattr(transport, "is_broken", True),
        None,
    )


def file_example(cleanup: ExitStack, tmp_path: Path) -> Case:
    """Stopped by a pipe that nobody reads: there the writing thread waits, as on a dead disk."""
    path, pipe = tmp_path / "events.jsonl", tmp_path / "pipe"
    os.mkfifo(pipe)
    transport = example().FileTransport(path)
    readers: list[int] = []

    def go_on() -> None:
        transport._path = path
        readers.append(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        cleanup.callback(os.close, readers[-1])

    def arrived() -> int:
        lines = path.read_bytes().splitlines() if path.exists() else []
        return len(lines) + in_pipe()

    def in_pipe() -> int:
        if readers:
            with suppress(BlockingIOError):
                read.append(os.read(readers[0], 100_000))
        return b"".join(read).count(b"\n")

    read: list[bytes] = []
    return Case(transport, arrived, lambda: setattr(transport, "_path", pipe), go_on)


CASES: dict[str, Callable[[ExitStack, Path], Case]] = {
    "ingestion": lambda cleanup, path: ingestion(cleanup, path, spool=False),
    "ingestion-with-spool": lambda cleanup, path: ingestion(cleanup, path, spool=True),
    "otlp": lambda cleanup, path: otlp(cleanup, path, spool=False),
    "otlp-with-spool": lambda cleanup, path: otlp(cleanup, path, spool=True),
    "memory": memory,
    "stdout": stdout,
    "three-methods": plain,
    "example": file_example,
}


@pytest.fixture(params=sorted(CASES))
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    monkeypatch.setenv("SESSIONBAT_SPOOL_DIR", str(tmp_path / "spool"))
    with ExitStack() as cleanup:
        made = CASES[request.param](cleanup, tmp_path)
        yield made
        if made.go_on is not None:
            made.go_on()
        with suppress(OSError):
            made.transport.close(5)


@pytest.fixture
def client(case: Case) -> SessionBat:
    return SessionBat(app="contract", transport=case.transport)


def record(client: SessionBat, count: int) -> list[str]:
    turn = client.session(session_id="s").interaction(interaction_id="i")
    return [turn.llm(model="m", input=number) for number in range(count)]


def assert_adds_up(client: SessionBat, recorded: int) -> Stats:
    stats = client.stats()
    assert stats.recorded == recorded
    known = stats.delivered + stats.pending + stats.spooled + sum(stats.dropped.values())
    assert stats.recorded == known, stats
    return stats


def test_everything_sent_arrives_and_is_counted_as_delivered(
    case: Case, client: SessionBat
) -> None:
    record(client, 30)
    assert client.flush(10)
    eventually(lambda: case.arrived() == 30)
    assert assert_adds_up(client, 30).delivered == 30


def test_flush_is_false_while_something_is_not_delivered(case: Case, client: SessionBat) -> None:
    case.stop()
    record(client, 3)
    result = client.flush(0.05)
    assert not result
    assert result.delivered == 0
    assert result.pending + result.spooled + result.dropped == 3
    assert assert_adds_up(client, 3).delivered == 0


def test_late_events_are_delivered_in_the_end(case: Case, client: SessionBat) -> None:
    case.stop()
    record(client, 3)
    assert not client.flush(0.05)
    if case.go_on is None:
        assert sum(client.stats().dropped.values()) == 3, "what cannot arrive is said to be lost"
        return
    case.go_on()
    assert client.flush(10)
    eventually(lambda: case.arrived() == 3)
    assert assert_adds_up(client, 3).delivered == 3


def test_the_counts_add_up_at_any_moment(case: Case, client: SessionBat) -> None:
    seen: list[Stats] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(client.stats())

    looking = threading.Thread(target=look)
    looking.start()
    record(client, 200)
    client.flush(10)
    done.set()
    looking.join()
    for stats in seen:
        known = stats.delivered + stats.pending + stats.spooled + sum(stats.dropped.values())
        assert stats.recorded == known
        assert stats.pending >= 0
    assert_adds_up(client, 200)


def test_close_delivers_and_a_second_close_does_nothing(case: Case, client: SessionBat) -> None:
    record(client, 5)
    assert client.close(10)
    once = assert_adds_up(client, 5)
    assert client.close(10)
    case.transport.close(1)
    assert client.stats() == once
    eventually(lambda: case.arrived() == 5)


def test_events_recorded_after_close_are_counted(case: Case, client: SessionBat) -> None:
    record(client, 2)
    client.close(10)
    record(client, 3)
    assert assert_adds_up(client, 5).dropped == {"closed": 3}
    assert not client.flush(0)


def test_events_sent_to_a_closed_counting_transport_are_counted(case: Case) -> None:
    if not isinstance(case.transport, CountingTransport):
        pytest.skip("its client counts for it")
    case.transport.close(5)
    case.transport.send(EncodedEvent(new_event_id(), b'{"id":"x"}'))
    assert case.transport.stats().dropped == {"closed": 1}


def test_nothing_reaches_the_host_while_nothing_can_be_sent(case: Case, client: SessionBat) -> None:
    case.stop()
    assert all(record(client, 3))
    client.flush(0.01)
    client.close(0.01)
    assert all(record(client, 1))
    assert_adds_up(client, 4)


@pytest.mark.parametrize("what", ["send", "take", "flush", "close", "stats"])
def test_a_transport_that_raises_costs_the_host_no_more_than_the_event(
    case: Case, client: SessionBat, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(case.transport, what):
        pytest.skip("it has no such method")

    def raising(*_: object) -> None:
        raise RuntimeError("a stranger's mistake")

    with monkeypatch.context() as broken:
        broken.setattr(case.transport, what, raising)
        client = SessionBat(app="contract", transport=case.transport)
        assert all(record(client, 2))
        client.flush(5)
        assert_adds_up(client, 2)
        client.close(5)
        assert_adds_up(client, 2)


def test_two_clients_may_share_a_transport(case: Case) -> None:
    clients = [SessionBat(app="contract", transport=case.transport) for _ in range(2)]
    for client in clients:
        record(client, 4)
        assert client.flush(10)
    eventually(lambda: case.arrived() == 8)
    if isinstance(case.transport, CountingTransport):
        assert case.transport.stats().recorded == 8


class Counting(CountingTransport):
    """As little as a transport that counts can be: it settles when it is told to."""

    def send(self, event: EncodedEvent) -> None:
        with self.ledger.lock:
            self.ledger.recorded += 1

    def flush(self, timeout: float | None = 30.0) -> None: ...

    def close(self, timeout: float | None = 30.0) -> None: ...


def test_a_client_believes_a_transport_that_counts() -> None:
    transport = Counting()
    client = SessionBat(app="a", transport=transport)
    record(client, 4)
    assert assert_adds_up(client, 4).pending == 4
    with transport.ledger.lock:
        transport.ledger.deliver(2)
        transport.ledger.drop("refused:odd")
        transport.ledger.spooled += 1
    stats = assert_adds_up(client, 4)
    assert (stats.delivered, stats.spooled, stats.dropped) == (2, 1, {"refused:odd": 1})
    assert tuple(client.flush(0)) == (2, 0, 1, 1)


def test_copying_keeps_the_same_counting_transport() -> None:
    transport = Counting()
    assert copy.deepcopy({"held": transport})["held"] is transport
    assert copy.copy(transport) is transport


def test_an_unrelated_ledger_attribute_does_not_make_a_counting_transport() -> None:
    transport = Plain()
    transport.ledger = "the accountant's"  # type: ignore[attr-defined]
    client = SessionBat(app="a", transport=transport)
    record(client, 2)
    assert client.flush(0)
    assert assert_adds_up(client, 2).delivered == 2


def test_the_example_drops_and_counts_what_cannot_wait_or_be_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    transport = example().FileTransport(pipe, most_waiting=2)
    client = SessionBat(app="a", transport=transport)
    record(client, 1)
    eventually(lambda: not transport._waiting)  # the thread has it, and waits for a reader
    record(client, 5)
    assert client.stats().dropped == {"queue-full": 3}
    transport._path = tmp_path  # a directory
    with pipe.open("rb") as reading:
        reading.read()
    assert not client.flush(10)
    assert client.stats().dropped == {"queue-full": 3, "not-written": 2}
    assert assert_adds_up(client, 6).delivered == 1
    client.close(1)
