"""What became of what was recorded: every event of a client is in exactly one state.

Transports and the client write a ``Ledger``; users read ``Stats`` and ``FlushResult``.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

#: The reason of an event that the host's own mask said not to send: counted, and nothing amiss.
WITHHELD: Final = "masked"

_NOTHING: Mapping[str, int] = MappingProxyType({})


class Stats(NamedTuple):
    """Counts of one client since it was made: recorded = delivered + pending + spooled + dropped.

    ``dropped`` counts by reason, ``mended`` counts arguments that were not usable as given and were
    replaced (by reason; those events were recorded all the same). ``sampled_out`` stands apart: it
    counts events that were never recorded, because their session is not in the sample. So does
    ``duplicates``: of those delivered, how many the endpoint said that it had already.
    """

    recorded: int = 0
    delivered: int = 0
    pending: int = 0
    spooled: int = 0
    dropped: Mapping[str, int] = _NOTHING
    mended: Mapping[str, int] = _NOTHING
    #: Events that earlier processes had left on disk and this one has delivered for them.
    adopted: int = 0
    sampled_out: int = 0
    #: Sent twice after a broken connection, or two observations of one session with the same id.
    duplicates: int = 0
    #: Files that this process found in the spool and left out or set aside: not this user's alone,
    #: or damaged.
    set_aside: int = 0

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process; a read-only mapping cannot."""
        plain = [dict(field) if isinstance(field, Mapping) else field for field in self]
        return _restored_stats, tuple(plain)


def _restored_stats(*fields: Any) -> Stats:
    return Stats._make(
        MappingProxyType(field) if type(field) is dict else field for field in fields
    )


class FlushResult(NamedTuple):
    """What became of everything that was recorded before a flush; true when all was delivered.

    What the host's mask withheld is none of it.
    """

    delivered: int = 0
    pending: int = 0
    spooled: int = 0
    dropped: int = 0

    def __bool__(self) -> bool:
        """Whether everything was delivered."""
        return not (self.pending or self.spooled or self.dropped)


class Ledger:
    """The running counts of one client.

    Args:
        lock: What guards every count. A worker shares one lock between its queue and the ledgers of
            its clients, so that a count and the queue never disagree. Must be reentrant.
    """

    __slots__ = (
        "__weakref__",
        "_dropped",
        "_mended",
        "_sampled_out",
        "delivered",
        "duplicates",
        "lock",
        "recorded",
        "spooled",
    )

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        self.lock = threading.RLock() if lock is None else lock
        if lock is None:
            _with_own_lock.add(self)
        self._reset()

    def _reset(self) -> None:
        self.recorded = 0
        self.delivered = 0
        self.duplicates = 0
        self.spooled = 0
        self._dropped: dict[str, int] = {}
        self._mended: dict[str, int] = {}
        self._sampled_out = 0

    def restart(self, lock: AbstractContextManager[object]) -> None:
        """Begin again from nothing in a forked child; what the parent recorded stays the parent's.

        The old lock may be held by a thread that does not exist here, so it is left alone.
        """
        self.lock = lock
        self._reset()

    def deliver(self, number: int = 1) -> None:
        """Count events as delivered. The caller holds the lock."""
        self.delivered += number

    def drop(self, reason: str, number: int = 1) -> bool:
        """Count events as given up; true for the first of a reason. The caller holds the lock."""
        first = reason not in self._dropped
        self._dropped[reason] = self._dropped.get(reason, 0) + number
        return first

    def mend(self, reason: str) -> bool:
        """Count a replaced argument; true for the first of this reason."""
        with self.lock:
            first = reason not in self._mended
            self._mended[reason] = self._mended.get(reason, 0) + 1
            return first

    def sample_out(self) -> None:
        """Count an event that was not recorded because its session is not in the sample."""
        with self.lock:
            self._sampled_out += 1

    def record_dropped(self, reason: str) -> bool:
        """Count an event that never reached a queue; true for the first of this reason."""
        with self.lock:
            first = self.drop(reason)
            self.recorded += 1  # last: broken off before, nothing is counted
            return first

    @property
    def pending(self) -> int:
        """How many are still under way. The caller holds the lock."""
        return self.recorded - self.delivered - self.spooled - sum(self._dropped.values())

    def stats(self) -> Stats:
        """Take all counts at one moment."""
        with self.lock:
            return Stats(
                recorded=self.recorded,
                delivered=self.delivered,
                pending=self.pending,
                spooled=self.spooled,
                dropped=MappingProxyType(dict(self._dropped)),
                mended=MappingProxyType(dict(self._mended)),
                sampled_out=self._sampled_out,
                duplicates=self.duplicates,
            )

    def flush_result(self, recorded: int, pending: int, spooled: int) -> FlushResult:
        """Sum up what became of the first ``recorded`` events, of which so many still wait."""
        with self.lock:
            withheld = self._dropped.get(WITHHELD, 0)
            settled = max(0, recorded - pending - spooled - withheld)
            dropped = min(sum(self._dropped.values()) - withheld, settled)
            return FlushResult(settled - dropped, pending, spooled, dropped)


_with_own_lock: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _renew_locks_in_child() -> None:
    # A thread that does not exist in a forked child may have held one.
    for ledger in list(_with_own_lock):
        ledger.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_in_child)
