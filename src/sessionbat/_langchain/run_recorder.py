"""Behind a handler's callbacks: a run begins, is described, is asked, ends, and is recorded.

``langchain`` has the signatures that LangChain calls; what they have in common is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sessionbat._langchain.interrupts import interrupted_places
from sessionbat._langchain.payloads import (
    INTERRUPTED,
    UNREADABLE,
    UNREADABLE_STATUS,
    Answer,
    failed_answer,
    run_metadata,
    user_tags,
)
from sessionbat._langchain.recording import record, record_abandoned
from sessionbat._langchain.runs import RunBook
from sessionbat._langchain.sessions import parent_around
from sessionbat._langchain.tools import interrupt_object
from sessionbat._langchain.tree import Run, Tree
from sessionbat.event import TOOL, new_event_id
from sessionbat.integrations._kit import Clock, Guard, book_of

if TYPE_CHECKING:
    from sessionbat._langchain.sessions import Home

NOTHING: Mapping[str, Any] = {}


class RunRecorder:
    """Records the runs that one handler hears of.

    Args:
        home: Where to.
        metadata: Of everything recorded; what is known of a run wins.
        clock: What tells the time.
        guard: Counts what cannot be read.
    """

    def __init__(self, home: Home, metadata: dict[str, Any], clock: Clock, guard: Guard) -> None:
        self.home = home
        self.metadata = metadata
        self.clock = clock
        self.book = book_of(home.client, RunBook, record_abandoned)
        self.part = guard.part

    def begin(self, kind: str | None, run_id: UUID, parent_run_id: UUID | None) -> Run | None:
        """Open a run; None when it is open already."""
        adopted_by = self._adopter() if parent_run_id is None else None
        return self.book.begin_run(
            run_id, parent_run_id, self.home, adopted_by=adopted_by, kind=kind
        )

    def _adopter(self) -> UUID | None:
        """Find the run that a run without a parent really is inside of."""
        around = parent_around()
        above = self.book.find(around.int) if around is not None else None
        if above is None or not self.home.shares_trees_of(above.tree.home):
            return None
        return around

    def begin_observed(
        self,
        kind: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str] | None,
        metadata: dict[str, Any] | None,
        params: Mapping[str, Any] = NOTHING,
    ) -> Run | None:
        """Open a run that will be recorded, with all that is known of it from the start."""
        run = self.begin(kind, run_id, parent_run_id)
        if run is None:
            return None
        above_id = run.nearest_id
        run.nearest_id = run.start(self.clock)
        if run.tree.placement is None:
            self.settle(run.tree, metadata, or_root=True)
        self.book.watch(run)
        run.tags = self.part(user_tags, tags)
        self._describe(run, run_id, above_id, metadata, tags, params)
        return run

    def settle(self, tree: Tree, metadata: Mapping[str, Any] | None, *, or_root: bool) -> None:
        """Find where a tree belongs; what is found first holds for the whole tree.

        Args:
            tree: Whose session is not known yet.
            metadata: What LangChain says about the run that begins.
            or_root: Take the root run's id where nothing is found: something is to be recorded.
        """
        placement = self.home.place(tree.interaction_id, metadata, or_root=or_root)
        if placement is None:
            return
        tree.placement = placement
        if tree.resuming:
            interaction = placement.interaction
            earlier = self.book.interrupted.take(interaction.session_id)
            tree.resumes = earlier if earlier != interaction.interaction_id else None

    def _describe(
        self,
        run: Run,
        run_id: UUID | str,
        above_id: str,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[Any] | None,
        params: Mapping[str, Any],
    ) -> None:
        said = self.part(run_metadata, metadata, tags, params, otherwise=NOTHING)
        run.metadata = {**self.metadata, **said}
        run.metadata["run_id"] = str(run_id)
        if above_id:
            run.metadata["parent_observation_id"] = above_id
        if run.tree.resumes is not None:
            run.metadata["resumes"] = run.tree.resumes

    def end(self, run_id: UUID, read: Callable[..., Answer], *given: Any) -> None:
        """Close a run and record it with what a reader makes of its answer."""
        run = self.book.end(run_id.int)
        if run is not None:
            record(run, self.read(read, *given))

    def fail(self, run: Run, error: BaseException, so_far: Answer) -> None:
        """Record a closed run that failed, was cancelled, or waits for a person."""
        record(run, self.read(failed_answer, error, so_far))

    def read(self, read: Callable[..., Answer], *given: Any) -> Answer:
        """Read an answer; one that cannot be read says so."""
        answer: Answer = self.part(
            read, *given, otherwise=Answer(metadata={"status": UNREADABLE_STATUS})
        )
        return answer

    def note_interrupt(self, tree: Tree, place: Any) -> None:
        """Remember where a person was asked, so that the turn with the answer can name this one."""
        if tree.placement is None:
            self.settle(tree, None, or_root=True)
        if tree.placement is None:
            return
        interaction = tree.placement.interaction
        self.book.interrupted.note(interaction.session_id, interaction.interaction_id)
        if type(place) is str:
            interrupted_places.note(place, interaction.interaction_id)

    def note_resumed(self, tree: Tree, place: Any) -> None:
        """Find the turn that was interrupted here, also where another client heard of it."""
        earlier = interrupted_places.take(place) if type(place) is str else None
        placement = tree.placement
        own = placement.interaction.interaction_id if placement is not None else None
        if tree.resumes is None and earlier != own:
            tree.resumes = earlier

    def record_interrupts(
        self, run: Run, interrupts: Iterable[Any], *, moment: bool = False, how: Any = None
    ) -> None:
        """Record what a person is asked, unless the tool that asks is recorded with it."""
        tree = run.tree
        new = [asked for asked in interrupts if not any(asked is shown for shown in tree.asked)]
        if not new and not moment:
            return
        tree.asked += new
        asking = Run(run.number, tree, run.parent, TOOL)
        asking.name = "interrupt"
        asking.observation_id = new_event_id()
        asking.begun_at = self.clock.now()
        self._describe(asking, UUID(int=run.number), run.nearest_id, run.node(), None, NOTHING)
        questions = [self.part(interrupt_object, asked, otherwise=UNREADABLE) for asked in new]
        status = (
            {"status": INTERRUPTED} if how is None else {"status": INTERRUPTED, "interrupt": how}
        )
        record(asking, Answer({"interrupts": questions}, status))
