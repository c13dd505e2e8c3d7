"""Tracks open operations: each begins and ends once, within limits, even if no end is reported.

A library does not report every end: tasks are cancelled, streams are abandoned, processes fork,
clients close. All objects that an integration makes for a client share one book.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from sessionbat import _process_end
from sessionbat._encoding import Snapshot
from sessionbat._host_log import host_log

if TYPE_CHECKING:
    from sessionbat.client import SessionBat
    from sessionbat.integrations._operation import Operation

MAX_OPEN: Final = 10_000
MAX_HELD_BYTES: Final = 64 * 1024 * 1024

CANCELLED: Final = "cancelled"
UNFINISHED: Final = "unfinished"

_log = host_log
_Op = TypeVar("_Op", bound="Operation")


class Book(Generic[_Op]):
    """The open operations of an integration; thread-safe.

    Args:
        abandon: Records an operation whose end is never reported, with its status. Called without
            the lock, in the thread that detects it.
    """

    def __init__(self, abandon: Callable[[_Op, str], None]) -> None:
        self._abandon = abandon
        self._lock = threading.Lock()  # guards everything below
        self._open: dict[Hashable, _Op] = {}
        self._watched: dict[asyncio.Task[Any], dict[Hashable, _Op]] = {}
        # Begun by a task that has ended; streams, perhaps read on.
        self._left: dict[Hashable, _Op] = {}
        self._held_bytes = 0
        self._expects_end = False
        _books[id(self)] = self

    def __len__(self) -> int:
        """Count the open operations."""
        return len(self._open)

    def begin(self, operation: _Op) -> bool:
        """Open an operation; False when its key is already open: its start was reported twice."""
        self._expect_end()
        with self._lock:
            if operation.key in self._open:
                return False
            evicted = self._admit(operation)
        if evicted:
            self._abandon_all(evicted, UNFINISHED)
        return True

    def ask(self, operation: _Op, asked: object) -> None:
        """Keep a snapshot of an operation's input until it ends, and start its clock.

        If the inputs together exceed their limit, the oldest operations are ended.
        """
        taken = Snapshot(asked)
        evicted = None
        with self._lock:
            if operation.key in self._open:
                operation.asked = taken
                operation.held_bytes = len(taken.data)
                self._held_bytes += operation.held_bytes
                if self._held_bytes > MAX_HELD_BYTES:
                    evicted = self._overflowing()
        if evicted:
            self._abandon_all(evicted, UNFINISHED)
        # The time spent on the snapshot is not part of its latency.
        operation.begun_ns = operation.clock.ticks_ns()

    def watch(self, operation: _Op) -> None:
        """End an operation when the asyncio task that began it ends first."""
        task = _current_task()
        if task is None:
            return
        operation.task = task
        with self._lock:
            watched = self._watched.get(task)
            if watched is not None:
                watched[operation.key] = operation
                return
            self._watched[task] = {operation.key: operation}
        task.add_done_callback(self._task_done)

    def find(self, key: Hashable) -> _Op | None:
        """Get an open operation."""
        return self._open.get(key)

    def end(self, key: Hashable) -> _Op | None:
        """Close an operation and stop its clock; None when it is not open."""
        with self._lock:
            operation = self._open.get(key)
            if operation is None:
                return None
            self._close(operation)
        if operation.kind is not None:
            operation.ended_ns = operation.clock.ticks_ns()
        return operation

    def end_abandoned(self, belongs: Callable[[_Op], bool], *, cancelled: bool) -> None:
        """End the operations selected by ``belongs`` whose end can no longer be reported.

        A task works sequentially: when an operation ends, everything that the same task began
        inside it is over, as is everything begun by a task that has ended. The exception is a
        stream that this task has left half read: its generator closes it later.

        Args:
            belongs: Whether an operation is inside the one that ends now.
            cancelled: Whether that one was cancelled; then its streams end too.
        """
        if not self._watched and not self._left:
            return
        task = _current_task()
        with self._lock:
            left = [*self._left.values()]
            here = [*self._watched.get(task, {}).values()] if task is not None else []
        for operation in left + [one for one in here if cancelled or not one.pieces]:
            if belongs(operation):
                self._abandon_if_open(operation, CANCELLED)

    def end_all(self) -> None:
        """End all open operations as unfinished, oldest first.

        At the end of the process this stops after a second, and logs how many operations are lost.
        """
        with self._lock:
            operations = [*self._open.values()]
        for number, operation in enumerate(operations):
            if _process_end.seconds_left() <= 0:
                self._say_late(operations[number:])
                return
            self._abandon_if_open(operation, UNFINISHED)

    def restart_after_fork(self) -> None:
        """Reset in a forked child: open operations are the parent's, and its lock may be held."""
        self._lock = threading.Lock()
        self._expects_end = False
        self._open, self._watched, self._left = {}, {}, {}
        self._held_bytes = 0

    def _expect_end(self) -> None:
        """Have the end of this process noticed. Called before an operation is opened."""
        if not self._expects_end:
            self._expects_end = True
            _process_end.watch()

    def _say_late(self, operations: list[_Op]) -> None:
        late = sum(one.kind is not None for one in operations)
        if late:
            _log.warning(
                "%d operations under way were lost: the process ended before they were recorded; "
                "call client.close() earlier. [operation-lost]",
                late,
            )

    def _admit(self, operation: _Op) -> list[_Op] | None:
        """Open an operation; returns those evicted for it. The caller holds the lock."""
        self._open[operation.key] = operation
        return self._overflowing() if len(self._open) > MAX_OPEN else None

    def _close(self, operation: _Op) -> None:
        """Remove an operation from the open ones. The caller holds the lock."""
        del self._open[operation.key]
        self._held_bytes -= operation.held_bytes
        self._left.pop(operation.key, None)
        if operation.task is not None:
            self._unwatch(operation, operation.task)

    def _unwatch(self, operation: _Op, task: asyncio.Task[Any]) -> None:
        watched = self._watched.get(task)
        if watched is None:
            return
        watched.pop(operation.key, None)
        if not watched:
            # A task that serves for months would otherwise gather a callback per operation.
            del self._watched[task]
            task.remove_done_callback(self._task_done)
        operation.task = None

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            begun = [*self._watched.pop(task, {}).values()]
            # What has produced something and was not cancelled may be a stream that others read on.
            left = [one for one in begun if one.pieces and not task.cancelled()]
            self._left.update((one.key, one) for one in left)
        for operation in begun:
            if operation not in left:
                self._abandon_if_open(operation, CANCELLED)

    def _overflowing(self) -> list[_Op]:
        """Close the oldest until the rest fits the limits. The caller holds the lock."""
        evicted: list[_Op] = []
        for operation in [*self._open.values()]:
            too_many = len(self._open) > MAX_OPEN
            if not too_many and self._held_bytes <= MAX_HELD_BYTES:
                break
            if too_many or operation.held_bytes:
                self._close(operation)
                evicted.append(operation)
        return evicted

    def _abandon_if_open(self, operation: _Op, status: str) -> None:
        with self._lock:
            if self._open.get(operation.key) is not operation:
                return
            self._close(operation)
        self._abandon_all([operation], status)

    def _abandon_all(self, operations: Iterable[_Op], status: str) -> None:
        for operation in operations:
            if operation.kind is None:
                continue
            operation.ended_ns = operation.clock.ticks_ns()
            try:
                self._abandon(operation, status)
            except Exception as error:  # noqa: BLE001 - in an event loop or the host's close()
                kind = type(error).__name__
                _log.warning("an operation under way was lost: %s. [operation-lost]", kind)


_BookT = TypeVar("_BookT", bound="Book[Any]")


def book_of(
    client: SessionBat,
    kind: Callable[[Callable[[_Op, str], None]], _BookT],
    abandon: Callable[[_Op, str], None],
) -> _BookT:
    """Get a client's book for an integration; ended when the client closes or the process ends.

    Args:
        client: The client.
        kind: The class of the book, one for each integration.
        abandon: As for ``Book``.
    """
    books = _books_of_client.setdefault(client, {})
    made = kind(abandon)
    book: _BookT = books.setdefault(kind, made)
    if book is made:
        client.on_close(book.end_all)
    return book


def _current_task() -> asyncio.Task[Any] | None:
    # Asked first, because an exception for each operation of synchronous code costs a microsecond.
    return None if asyncio._get_running_loop() is None else asyncio.current_task()


_books_of_client: WeakKeyDictionary[SessionBat, dict[object, Any]] = WeakKeyDictionary()
_books: WeakValueDictionary[int, Book[Any]] = WeakValueDictionary()


def _every_book() -> list[Book[Any]]:
    # Copied in one step: another thread may make a book at any moment.
    return [book for reference in _books.valuerefs() if (book := reference()) is not None]


def _end_books() -> None:
    for book in _every_book():
        book.end_all()


def _restart_books() -> None:
    for book in _every_book():
        book.restart_after_fork()


# For clients that are never closed. A forked child holds only operations that it began itself.
_process_end.record_at_end(_end_books)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_books)
