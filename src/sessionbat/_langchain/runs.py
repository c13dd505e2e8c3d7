"""Which LangChain runs are under way: the kit's book, which knows of trees.

The handlers of one client share one book, so that a run which several of them hear of is one
record. A tree (one root run and all below it) is kept while any of its runs is open and leaves
nothing behind. What LangChain never ends (it reports no cancelled model or tool) is ended here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sessionbat._langchain.interrupts import InterruptedTurns
from sessionbat._langchain.tree import Run, Tree
from sessionbat.integrations._kit import UNFINISHED, Book

if TYPE_CHECKING:
    from sessionbat._langchain.sessions import Home

MAX_ENDED_PER_TREE: Final = 256


class RunBook(Book[Run]):
    """Every run under way that the handlers of one client have heard of. Any thread may call.

    Args:
        abandon: As for ``Book``.
    """

    def __init__(self, abandon: Callable[[Run, str], None]) -> None:
        super().__init__(abandon)
        # Of trees with an open run: late children ask for them. Guarded as what is open.
        self._ended: dict[int, Run] = {}
        #: By session: which interaction of it was interrupted last.
        self.interrupted = InterruptedTurns()

    def __len__(self) -> int:
        """How many runs are held, open or ended."""
        return len(self._open) + len(self._ended)

    def begin_run(
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
        self._expect_end()
        with self._lock:
            if key in self._open:
                return None
            parent = None
            if above is not None:
                parent = self._open.get(above.int) or self._ended.get(above.int)
            tree = parent.tree if parent is not None else Tree(str(above_or_own), home)
            run = Run(key, tree, parent, kind)
            tree.open_runs += 1
            evicted = self._admit(run)
        if evicted:
            self._abandon_all(evicted, UNFINISHED)
        return run

    def restart_after_fork(self) -> None:
        """Begin anew in a forked child, as ``Book`` does."""
        super().restart_after_fork()
        self._ended = {}
        self.interrupted.restart_after_fork()

    def _close(self, run: Run) -> None:
        super()._close(run)
        tree = run.tree
        tree.open_runs -= 1
        if tree.open_runs == 0:
            for ended in tree.ended:
                self._ended.pop(ended, None)
            tree.ended.clear()
            return
        self._ended[run.number] = run
        tree.ended.append(run.number)
        if len(tree.ended) > MAX_ENDED_PER_TREE:
            self._ended.pop(tree.ended.popleft(), None)
