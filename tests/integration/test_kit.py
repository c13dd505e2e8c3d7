"""The integration kit, by an integration of a library that does not exist."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.event import LLM, TOOL
from sessionbat.integrations import _book
from sessionbat.integrations._kit import (
    Book,
    Clock,
    Guard,
    Operation,
    book_of,
    ending_of,
    guarded,
    interaction_here,
    record,
    record_abandoned,
)
from sessionbat.transports import MemoryTransport


# The whole integration: what the next one has to write.
class RobotBook(Book[Operation]):
    """The requests of a robot library under way."""


class RobotHooks:
    """Give it to a robot: ``Robot(hooks=RobotHooks(client))``."""

    def __init__(self, client: SessionBat, clock: Clock = Clock()) -> None:  # noqa: B008
        self._client, self._clock = client, clock
        self._guard = Guard(slug="robot-hooks")
        self._book = book_of(client, RobotBook, record_abandoned)

    @guarded
    def on_request(self, key: str, model: str | None, asked: Any) -> None:
        kind = LLM if model is not None else TOOL
        operation = Operation(key, kind, interaction_here(self._client))
        if self._book.begin(operation):
            operation.start(self._clock)
            operation.metadata = {"model": model} if model is not None else {}
            self._book.watch(operation)
            self._book.ask(operation, asked)

    @guarded
    def on_word(self, key: str, word: str) -> None:
        operation = self._book.find(key)
        if operation is not None and operation.take_piece(None, word):
            operation.first_token_ns = operation.first_token_ns or self._clock.ticks_ns()

    @guarded
    def on_done(self, key: str, answer: Any = None, error: BaseException | None = None) -> None:
        operation = self._book.end(key)
        if operation is not None and operation.interaction is not None:
            said = answer if answer is not None else [*operation.pieces] or None
            output = self._guard.part(str.upper, said, otherwise=said)
            record(operation, operation.interaction, output=output, **ending_of(operation, error))


class Ticks:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.seconds = 1_000

    def __call__(self) -> int:
        self.seconds += 1
        return self.seconds * 1_000_000_000


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def client(transport: MemoryTransport) -> Iterator[SessionBat]:
    with SessionBat(app="robots", transport=transport) as made:
        yield made


def observed(transport: MemoryTransport) -> list[dict[str, Any]]:
    return [event["observation"] for event in transport.events]


def test_a_request_is_recorded_as_it_was_asked_with_its_times(
    client: SessionBat, transport: MemoryTransport
) -> None:
    hooks = RobotHooks(client, Clock(now=lambda: 0.0, ticks_ns=Ticks()))
    asked = ["lift the box"]
    hooks.on_request("1", "robot-2", asked)
    asked.append("changed since")
    hooks.on_word("1", "lift")
    hooks.on_word("1", "ing")
    hooks.on_done("1", "lifting")
    (observation,) = observed(transport)
    assert observation["input"] == ["lift the box"]
    assert observation["output"] == "LIFTING"
    assert observation["metadata"]["model"] == "robot-2"
    assert observation["metrics"] == {"latency_ms": 2000, "time_to_first_token_ms": 1000}
    assert observation["started_at"] == "1970-01-01T00:00:00.000000Z"


def test_it_goes_where_the_code_runs(client: SessionBat, transport: MemoryTransport) -> None:
    hooks = RobotHooks(client)
    with client.session(session_id="s") as session:
        hooks.on_request("1", "m", "alone in a session")
        with session.interaction(interaction_id="i"):
            hooks.on_request("2", "m", "in an interaction")
    other = SessionBat(app="other", transport=MemoryTransport()).session(session_id="theirs")
    with other, other.interaction(interaction_id="turn"):
        hooks.on_request("3", "m", "in another client's")
    hooks.on_request("4", "m", "nowhere")
    for key in "1234":
        hooks.on_done(key, "done")
    alone, within, foreign, nowhere = transport.events
    assert alone["session_id"] == "s" and alone["interaction_id"] != "i"
    assert (within["session_id"], within["interaction_id"]) == ("s", "i")
    assert (foreign["session_id"], foreign["interaction_id"]) == ("theirs", "turn")
    assert {event["app"] for event in transport.events} == {"robots"}
    assert nowhere["session_id"] not in ("s", "theirs")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (asyncio.CancelledError(), "cancelled", None),
        (GeneratorExit(), "cancelled", None),
        (TimeoutError("too slow"), None, "TimeoutError"),
        (KeyboardInterrupt(), None, "KeyboardInterrupt"),
        (None, None, None),
    ],
)
def test_cancelled_is_not_failed(
    client: SessionBat,
    transport: MemoryTransport,
    error: BaseException | None,
    status: str | None,
    kind: str | None,
) -> None:
    hooks = RobotHooks(client)
    hooks.on_request("1", None, "grip")
    hooks.on_done("1", error=error)
    (observation,) = observed(transport)
    assert observation["kind"] == "tool"
    assert observation["metadata"].get("status") == status
    assert (observation["error"] or {}).get("type") == kind


def test_a_start_or_end_that_is_reported_twice_is_one_record(
    client: SessionBat, transport: MemoryTransport
) -> None:
    first, second = RobotHooks(client), RobotHooks(client)
    for hooks in (first, second):
        hooks.on_request("1", "m", "q")
    for hooks in (first, second):
        hooks.on_done("1", "a")
    first.on_done("never begun", "a")
    assert len(observed(transport)) == 1
    assert (len(first._book), first._book is second._book) == (0, True)


def test_nothing_is_raised_and_the_first_failure_is_logged_without_its_text(
    client: SessionBat, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __hash__(self) -> int:
            raise RuntimeError("a private prompt")

    hooks = RobotHooks(client)
    hooks.on_request(Odd(), "m", "q")  # type: ignore[arg-type]
    hooks.on_done(Odd())  # type: ignore[arg-type]
    hooks.on_request("1", "m", "q")
    hooks.on_done("1", {"no": "text"})  # what cannot be read costs that part only
    assert observed(transport)[0]["output"] == {"no": "text"}
    assert hooks._guard.failures == 3
    (logged,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "[robot-hooks]" in logged and "private" not in logged


def test_open_operations_are_recorded_unfinished_at_close(transport: MemoryTransport) -> None:
    client = SessionBat(app="robots", transport=transport)
    hooks = RobotHooks(client)
    hooks.on_request("1", "m", "q")
    hooks.on_word("1", "half an ans")
    client.close()
    (observation,) = observed(transport)
    assert observation["metadata"]["status"] == "unfinished"
    assert observation["output"] == ["half an ans"]
    assert len(hooks._book) == 0
    hooks.on_done("1", "too late")
    assert len(observed(transport)) == 1


def test_a_cancelled_task_ends_what_it_began(
    client: SessionBat, transport: MemoryTransport
) -> None:
    hooks = RobotHooks(client)

    async def work(key: str) -> None:
        hooks.on_request(key, "m", "q")
        await asyncio.sleep(60)  # until it is cancelled

    async def main() -> None:
        task = asyncio.create_task(work("cancelled"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [o["metadata"]["status"] for o in observed(transport)] == ["cancelled"]
    assert (hooks._book._open, hooks._book._watched, hooks._book._left) == ({}, {}, {})


def test_open_operations_are_bounded_in_number_and_bytes(
    client: SessionBat, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = RobotHooks(client)
    monkeypatch.setattr(_book, "MAX_OPEN", 3)
    for number in range(5):
        hooks.on_request(str(number), "m", number)
    assert [o["input"] for o in observed(transport)] == [0, 1]
    monkeypatch.setattr(_book, "MAX_HELD_BYTES", 1000)
    hooks.on_request("large", "m", "x" * 2000)
    assert len(hooks._book) == 0
    assert {o["metadata"]["status"] for o in observed(transport)} == {"unfinished"}
    assert hooks._book._held_bytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_with_nothing_under_way(client: SessionBat) -> None:
    hooks = RobotHooks(client)
    hooks.on_request("1", "m", "the parent's")
    hooks._book._lock.acquire()  # as a thread may hold it that does not exist in the child
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that waits for the lock would wait for ever
        hooks.on_request("2", "m", "the child's")
        os._exit(len(hooks._book))
    hooks._book._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert len(hooks._book) == 1


def test_an_operation_that_cannot_be_recorded_is_lost_alone(
    client: SessionBat, transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_first(operation: Operation, status: str) -> None:
        if operation.key == "1":
            raise ValueError("a private prompt")
        record_abandoned(operation, status)

    book = Book[Operation](fail_first)
    for key in "12":
        assert book.begin(Operation(key, LLM, interaction_here(client)))
    book.end_all()
    assert len(observed(transport)) == 1
    assert "[operation-lost]" in caplog.text and "private" not in caplog.text


def test_two_integrations_of_one_client_have_a_book_each(client: SessionBat) -> None:
    class Other(Book[Operation]):
        pass

    assert book_of(client, Other, record_abandoned) is not RobotHooks(client)._book
    assert book_of(client, Other, record_abandoned) is book_of(client, Other, record_abandoned)
