"""Batches with events that are neither delivered nor dropped, and what is counted about them.

The books of ``event_queue``, which guards them with its lock. Nothing here waits or locks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sessionbat._delivery.batch import Batch
from sessionbat._delivery.segment import Extent, Part
from sessionbat.accounting import Ledger


class Settled(NamedTuple):
    """Where events that were just settled are on disk."""

    #: To be noted there: others of their batch are still waiting.
    done: list[Part] = []  # noqa: RUF012 - never changed
    #: To be released: all of the batch is settled.
    free: list[Extent] = []  # noqa: RUF012


class Waiting(NamedTuple):
    """What a client recorded before some moment, and how much of it was not settled."""

    recorded: int
    pending: int
    spooled: int


class Unsettled:
    """All batches that a queue answers for, oldest first."""

    def __init__(self) -> None:
        #: Put by this process, by their numbers, from 0 up.
        self.own: dict[int, Batch] = {}
        #: Left by an earlier process, from -1 down: no flush waits for them.
        self.adopted: dict[int, Batch] = {}
        #: How many events were settled so far.
        self.settled_events = 0
        self._next_adopted = -1

    @property
    def is_empty(self) -> bool:
        """Whether every event put or adopted so far is settled."""
        return not self.own and not self.adopted

    @property
    def first(self) -> float:
        """The number of the oldest own batch; infinite when there is none."""
        return next(iter(self.own), float("inf"))

    def __contains__(self, batch: Batch) -> bool:
        """Whether something of a batch is not settled."""
        return batch.number in self.own or batch.number in self.adopted

    def __iter__(self) -> Iterator[Batch]:
        """Go through all of them, those of earlier processes first."""
        yield from self.adopted.values()
        yield from self.own.values()

    def adopt(self, batch: Batch) -> None:
        """Number a batch that another process left, and add it."""
        batch.number = self._next_adopted
        self._next_adopted -= 1
        self.adopted[batch.number] = batch

    def remove(self, batch: Batch) -> None:
        """Forget a batch of which all is settled."""
        del (self.own if batch.number >= 0 else self.adopted)[batch.number]

    def settle(self, batch: Batch, first: int, count: int, dropped: str | None) -> None:
        """Count events of a batch as delivered, or as dropped for a reason, with their clients."""
        for ledger, number, spooled in batch.settle(first, count):
            ledger.spooled -= spooled
            self.settled_events += number
            if dropped is None:
                ledger.deliver(number)
            else:
                ledger.drop(dropped, number)

    def not_on_disk(self) -> Iterator[Batch]:
        """Go through own batches that hold events which are not on disk, oldest first."""
        return (batch for batch in self.own.values() if batch.spooled < batch.count)

    def waiting(self, recorded: int, ledger: Ledger, through: int) -> Waiting:
        """Sum up what a client waits for, in batches up to a number."""
        pending = spooled = 0
        for batch in self.own.values():
            if batch.number <= through:
                waiting, on_disk = batch.waiting_of(ledger)
                pending += waiting - on_disk
                spooled += on_disk
        return Waiting(recorded, pending, spooled)


def count_duplicates(batch: Batch, positions: Sequence[int], duplicates: int) -> None:
    """Count how many of some events the endpoint had already; it does not say which.

    Where they belong to several clients, those of the most events are taken for theirs.
    """
    owners = batch.owners_of(positions)
    for ledger in sorted(owners, key=lambda owner: -owners[owner]):
        number = min(duplicates, owners[ledger])
        ledger.duplicates += number
        duplicates -= number
