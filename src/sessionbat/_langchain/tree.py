"""One LangChain run, and the tree of runs that is one interaction of one session."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sessionbat.integrations._kit import Operation

if TYPE_CHECKING:
    from sessionbat._langchain.sessions import Home, Placement


class Tree:
    """One root run and everything below it: one interaction of one session."""

    __slots__ = (
        "asked",
        "ended",
        "home",
        "interaction_id",
        "open_runs",
        "placement",
        "resumes",
        "resuming",
    )

    def __init__(self, interaction_id: str, home: Home) -> None:
        #: Of its interaction, where nothing else names one.
        self.interaction_id = interaction_id
        #: Of the handler that heard of it first.
        self.home = home
        #: Where this tree's observations go; None until its session is known.
        self.placement: Placement | None = None
        #: Whether the root was asked to go on after an interrupt, and the interaction before it.
        self.resuming = False
        self.resumes: str | None = None
        #: LangGraph's interrupts that some record of the tree shows.
        self.asked: list[Any] = []
        self.open_runs = 0
        self.ended: deque[int] = deque()


class Run(Operation):
    """One run as it began. ``kind`` is None for chains, which are not recorded.

    Args:
        key: LangChain's id of the run, as a number: hashing a UUID runs Python code.
        tree: The tree it is in.
        parent: The run it is directly inside of.
        kind: What it is recorded as.
    """

    #: What LangGraph says of the node that a chain is; None of any other.
    place: Mapping[str, Any] | None = None

    def __init__(self, key: int, tree: Tree, parent: Run | None, kind: str | None) -> None:
        super().__init__(key, kind)
        self.number = key
        self.tree = tree
        self.parent = parent
        #: The nearest recorded run here or above: what an observation below names as its parent.
        self.nearest_id: str = parent.nearest_id if parent is not None else ""

    def is_below(self, ancestor: Run) -> bool:
        """Whether ``ancestor`` is above this run in its tree."""
        above = self.parent
        while above is not None:
            if above is ancestor:
                return True
            above = above.parent
        return False

    def node(self) -> Mapping[str, Any]:
        """Get what LangGraph says of the node that the run is, or is inside of."""
        inside: Run | None = self
        while inside is not None:
            if inside.place is not None:
                return inside.place
            inside = inside.parent
        return {}
