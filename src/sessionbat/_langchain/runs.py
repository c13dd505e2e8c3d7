"""Which LangChain runs are under way: begun once, ended once, forgotten with their tree.

The handlers of one client share one book, so that a run which several of them hear of is one
record. A tree (one root run and all below it) is kept while any of its runs is open and leaves
nothing behind. What LangChain never ends (it reports no cancelled model or tool) is ended here.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet

from sessionbat._clock import perf_counter_ns
from sessionbat._langchain.interrupts import InterruptedTurns
from sessionbat._langchain.streams import Piece

if TYPE_CHECKING:
    from sessionbat._encoding import Snapshot
    from sessionbat._langchain.sessions import Home
    from sessionbat.client import Interaction, SessionBat

MAX_OPEN_RUNS: Final = 10_000
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
MAX_ENDED_PER_TREE: Final = 256

CANCELLED: Final = "cancelled"
UNFINISHED: Final = "unfinished"


def _now() -> float:
    # Looked up at each call: a test of the host may have set the time, for ``created_at`` as well.
    return time.time()


class Clock(NamedTuple):
    """Tells the time: seconds since the epoch, and nanoseconds that never go back."""

    now: Callable[[], float] = _now
    ticks_ns: Callable[[], int] = perf_counter_ns


class Tree:
    """One root run and everything below it: one interaction of one session."""

    __slots__ = (
        "asked",
        "context",
        "ended",
        "home",
        "interaction",
        "interaction_id",
        "open_runs",
        "resumes",
        "resuming",
        "tags",
    )

    def __init__(self, interaction_id: str, home: Home) -> None:
        self.interaction_id = interaction_id
        #: Of the handler that heard of it first.
        self.home = home
        #: Where this tree's observations go; None until its session is known.
        self.interaction: Interaction | None = None
        #: Labels and context of each record, where the interaction does not bring them.
        self.tags: tuple[str, ...] = ()
        self.context: dict[str, Any] | None = None
        #: Whether the root was asked to go on after an interrupt, and the interaction before it.
        self.resuming = False
        self.resumes: str | None = None
        #: LangGraph's interrupts that some record of the tree shows.
        self.asked: list[Any] = []
        self.open_runs = 0
        self.ended: deque[int] = deque()


_CLOCK: Final = Clock()


class Run:
    """One run as it began. ``kind`` is None for chains, which are not recorded."""

    __slots__ = (
        "asked",
        "begun_at",
        "begun_ns",
        "clock",
        "ended_ns",
        "first_token_ns",
        "held_bytes",
        "key",
        "kind",
        "last_piece",
        "metadata",
        "name",
        "nearest_id",
        "observation_id",
        "parent",
        "pieces",
        "place",
        "tags",
        "task",
        "tree",
    )

    def __init__(self, key: int, tree: Tree, parent: Run | None, kind: str | None) -> None:
        #: LangChain's id of the run, as a number: hashing a UUID runs Python code.
        self.key = key
        self.tree = tree
        self.parent = parent
        self.kind = kind
        #: The id this run is recorded under; "" for a chain.
        self.observation_id = ""
        #: The nearest recorded run here or above: what an observation below names as its parent.
        self.nearest_id: str = parent.nearest_id if parent is not None else ""
        self.name: str | None = None
        self.asked: Snapshot | None = None
        self.held_bytes = 0
        self.metadata: dict[str, Any] = {}
        self.tags: list[str] | None = None
        self.clock = _CLOCK
        self.begun_at = 0.0
        self.begun_ns = 0
        self.ended_ns = 0
        self.first_token_ns = 0
        #: The pieces of a stream: LangChain forgets them when a graph's model is cut short.
        self.pieces: list[Piece] = []
        self.last_piece: object = None
        #: What LangGraph says of the node that a chain is; None of any other.
        self.place: Mapping[str, Any] | None = None
        self.task: asyncio.Task[Any] | None = None

    def take_piece(self, piece: object, text: Any) -> bool:
        """Keep a piece of the answer; false when the same one was reported twice."""
        if piece is not None and piece is self.last_piece:
            return False
        self.last_piece = piece
        self.pieces.append(Piece(piece, text))
        return True

    def is_below(self, ancestor: Run) -> bool:
        """Whether ``ancestor`` is above this run in its tree."""
        above = self.parent
        while above is not None:
            if above is ancestor:
                return True
            above = above.parent
        return False


class RunBook:
    """Every run under way that the handlers of one client have heard of. Any thread may call.

    Args:
        abandon: Records a run that will not be ended by LangChain, with its status. Called without
            the lock, from whichever thread finds out.
    """

    def __init__(self, abandon: Callable[[Run, str], None]) -> None:
        self._abandon = abandon
        self._lock = threading.Lock()  # guards everything below
        self._open: dict[int, Run] = {}
        self._ended: dict[int, Run] = {}  # of trees with an open run: late children ask for them
        self._watched: dict[asyncio.Task[Any], dict[int, Run]] = {}
        self._left: dict[int, Run] = {}  # begun by a task that has ended; streams, perhaps read on
        self._held_bytes = 0
        #: By session: which interaction of it was interrupted last.
        self.interrupted = InterruptedTurns()
        _books.add(self)

    def __len__(self) -> int:
        """How many runs are held, open or ended."""
        return len(self._open) + len(self._ended)

    def begin(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        home: Home,
        *,
        adopted_by: UUID | None = None,
        kind: str | None = None,
    ) -> Run | None:
        """Open a run; None when it is open already (its start was reported twice).

        Args:
            run_id: LangChain's id of the run.
            parent_run_id: Its parent as LangChain has it. One never heard of makes the run a root,
                whose interaction carries the parent's id.
            home: Where a new tree records.
            adopted_by: For a run without a parent: what it really runs inside, if that is open.
            kind: What it is recorded as; None for a chain.
        """
        above = parent_run_id or adopted_by
        above_or_own = parent_run_id or run_id
        key = run_id.int
        with self._lock:
            if key in self._open:
                return None
            parent = None
            if above is not None:
                parent = self._open.get(above.int) or self._ended.get(above.int)
            tree = parent.tree if parent is not None else Tree(str(above_or_own), home)
            run = Run(key, tree, parent, kind)
            self._open[key] = run
            tree.open_runs += 1
            evicted = self._overflowing() if len(self._open) > MAX_OPEN_RUNS else None
        if evicted:
            self._abandon_all(evicted, UNFINISHED)
        return run

    def hold(self, run: Run, asked: Snapshot) -> None:
        """Keep what a run was asked until it ends, within the limit for all runs together."""
        with self._lock:
            if run.key not in self._open:
                return
            run.asked = asked
            run.held_bytes = len(asked.data)
            self._held_bytes += run.held_bytes
            evicted = self._overflowing() if self._held_bytes > MAX_HELD_BYTES else None
        if evicted:
            self._abandon_all(evicted, UNFINISHED)

    def watch(self, run: Run) -> None:
        """Have the run ended when the asyncio task that began it ends without ending it."""
        task = _current_task()
        if task is None:
            return
        run.task = task
        with self._lock:
            runs = self._watched.get(task)
            if runs is not None:
                runs[run.key] = run
                return
            self._watched[task] = {run.key: run}
        task.add_done_callback(self._task_done)

    def find(self, run_id: UUID) -> Run | None:
        """Get an open run."""
        return self._open.get(run_id.int)

    def end(self, run_id: UUID) -> Run | None:
        """Close a run; None when it is not open: ended before, or never begun."""
        with self._lock:
            run = self._open.get(run_id.int)
            if run is not None:
                self._close(run)
            return run

    def end_abandoned_below(self, chain: Run, *, cancelled: bool) -> None:
        """End what was begun below a chain that ends now, and can no longer be ended.

        A task does one thing after the other: what it began below the chain is over, and so is what
        was begun by a task that has ended. Only a stream that this task has left half read (it has
        produced something) is closed later, by its generator.
        """
        if not self._watched and not self._left:
            return
        task = _current_task()
        with self._lock:
            left = [*self._left.values()]
            here = [*self._watched.get(task, {}).values()] if task is not None else []
        over = left + [run for run in here if cancelled or not run.pieces]
        for run in over:
            if run.is_below(chain):
                self._abandon_if_open(run, CANCELLED)

    def end_all(self) -> None:
        """End everything that is open as unfinished, oldest first."""
        with self._lock:
            runs = [*self._open.values()]
        for run in runs:
            self._abandon_if_open(run, UNFINISHED)

    def restart_after_fork(self) -> None:
        """Begin anew in a forked child: the runs are the parent's, and the lock may be held."""
        self._lock = threading.Lock()
        self._open, self._ended, self._watched, self._left = {}, {}, {}, {}
        self._held_bytes = 0
        self.interrupted.restart_after_fork()

    def _close(self, run: Run) -> None:
        """Take a run out of what is open. The caller holds the lock."""
        del self._open[run.key]
        self._held_bytes -= run.held_bytes
        self._left.pop(run.key, None)
        if run.task is not None:
            self._unwatch(run, run.task)
        tree = run.tree
        tree.open_runs -= 1
        if tree.open_runs == 0:
            for ended in tree.ended:
                self._ended.pop(ended, None)
            tree.ended.clear()
            return
        self._ended[run.key] = run
        tree.ended.append(run.key)
        if len(tree.ended) > MAX_ENDED_PER_TREE:
            self._ended.pop(tree.ended.popleft(), None)

    def _unwatch(self, run: Run, task: asyncio.Task[Any]) -> None:
        runs = self._watched.get(task)
        if runs is None:
            return
        runs.pop(run.key, None)
        if not runs:
            # A task that serves for months would otherwise gather a callback per run.
            del self._watched[task]
            task.remove_done_callback(self._task_done)
        run.task = None

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            begun = [*self._watched.pop(task, {}).values()]
            # What has produced something and was not cancelled may be a stream that others read on.
            left = [run for run in begun if run.pieces and not task.cancelled()]
            self._left.update((run.key, run) for run in left)
        for run in begun:
            if run not in left:
                self._abandon_if_open(run, CANCELLED)

    def _overflowing(self) -> list[Run]:
        """Close the oldest runs until the rest fits the limits. The caller holds the lock."""
        evicted: list[Run] = []
        for run in [*self._open.values()]:
            too_many = len(self._open) > MAX_OPEN_RUNS
            if not too_many and self._held_bytes <= MAX_HELD_BYTES:
                break
            if too_many or run.held_bytes:
                self._close(run)
                evicted.append(run)
        return evicted

    def _abandon_if_open(self, run: Run, status: str) -> None:
        with self._lock:
            if self._open.get(run.key) is not run:
                return
            self._close(run)
        self._abandon_all([run], status)

    def _abandon_all(self, runs: Iterable[Run], status: str) -> None:
        for run in runs:
            if run.kind is not None:
                self._abandon(run, status)


def book_of(client: SessionBat, abandon: Callable[[Run, str], None]) -> RunBook:
    """Get the book that all handlers of a client share; closing the client ends what it holds."""
    made = RunBook(abandon)
    book = _book_of_client.setdefault(client, made)
    if book is made:
        client.on_close(book.end_all)
    return book


def _current_task() -> asyncio.Task[Any] | None:
    # Asked first, because an exception for each run of synchronous code costs a microsecond.
    return None if asyncio._get_running_loop() is None else asyncio.current_task()


_book_of_client: WeakKeyDictionary[SessionBat, RunBook] = WeakKeyDictionary()
_books: WeakSet[RunBook] = WeakSet()


def _restart_books() -> None:
    for book in [*_books]:
        book.restart_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_books)
