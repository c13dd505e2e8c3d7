"""Which turn was interrupted where, so that the turn which goes on from there can name it.

Within a client a session's last interrupted turn is enough. Another client of this process, such as
another worker's handler, goes on from the same place in the graph: LangGraph names it alike in both
turns, and nobody else's is named so.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Final

MAX_INTERRUPTED: Final = 1_000


class InterruptedTurns:
    """Interaction ids by a name of where they were interrupted; the oldest are forgotten.

    Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._turns: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        """How many interrupted turns are remembered."""
        return len(self._turns)

    def note(self, place: str, interaction_id: str) -> None:
        """Remember which turn was interrupted last at a place."""
        with self._lock:
            self._turns[place] = interaction_id
            self._turns.move_to_end(place)
            if len(self._turns) > MAX_INTERRUPTED:
                self._turns.popitem(last=False)

    def take(self, place: str) -> str | None:
        """Get and forget the turn that was interrupted last at a place."""
        with self._lock:
            return self._turns.pop(place, None)

    def restart_after_fork(self) -> None:
        """Go on in a forked child: it may be the one that is asked to resume."""
        self._lock = threading.Lock()


#: By LangGraph's own names of a task or checkpoint, which are unique everywhere.
interrupted_places: Final = InterruptedTurns()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=interrupted_places.restart_after_fork)
