"""A part of a batch on its way: what is sent, and which events of the batch it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sessionbat._delivery.batch import Batch
from sessionbat._delivery.compression import compress


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events of a batch, by their positions in it, as NDJSON."""

    batch: Batch
    positions: Sequence[int]
    body: bytes

    @classmethod
    def of(cls, batch: Batch, positions: Sequence[int]) -> tuple[Parcel, list[int]]:
        """Make one of some events of a batch.

        Returns:
            The parcel, without the events that cannot be read; and the positions of those.
        """
        if batch.is_held and len(positions) == batch.count:
            return cls(batch, positions, batch.body()), []
        lines = batch.lines()
        found = [(n, line) for n in positions if (line := lines[n]) is not None]
        unreadable = [n for n in positions if lines[n] is None]
        return cls(batch, [n for n, _ in found], b"\n".join(line for _, line in found)), unreadable

    @property
    def count(self) -> int:
        """How many events it holds."""
        return len(self.positions)

    @property
    def first(self) -> int:
        """Where its first event stands in the batch."""
        return self.positions[0]

    @property
    def span(self) -> int:
        """How far it reaches there; what lies between its events is settled."""
        return self.positions[-1] + 1 - self.positions[0]

    def packed(self, coding: str) -> bytes:
        """Its events, compressed."""
        if self.batch.is_packed and self.count == self.batch.count:
            return self.batch.packed(coding)
        return compress(self.body, coding)

    def singles(self) -> Iterator[Parcel]:
        """Take it apart into single events."""
        for position, line in zip(self.positions, self.lines(), strict=True):
            yield Parcel(self.batch, (position,), line)

    def split(self, count: int) -> tuple[Parcel, Parcel]:
        """Cut it after ``count`` events."""
        lines = self.lines()
        return (
            Parcel(self.batch, self.positions[:count], b"\n".join(lines[:count])),
            Parcel(self.batch, self.positions[count:], b"\n".join(lines[count:])),
        )

    def anew(self) -> Parcel:
        """Make the same one of the events as they were recorded, before anything was cut.

        Raises:
            OSError: They are on disk only, and are not there any more.
        """
        whole, unreadable = Parcel.of(self.batch, self.positions)
        if unreadable:
            raise OSError("on disk only, and not as it was written")
        return whole

    def lines(self) -> list[bytes]:
        """The events, one line each."""
        return self.body.rstrip(b"\n").split(b"\n")

    def refused(self, rejections: Iterable[Rejection]) -> Iterator[tuple[int, str]]:
        """Find events that were rejected: position in the batch, and why.

        By their place, else by their id, which several sessions may have.
        """
        lines = self.lines()
        by_id: dict[str, str] = {}
        for rejection in rejections:
            place = rejection.place
            if place is not None and place < len(lines) and rejection.names(lines[place]):
                yield self.positions[place], rejection.slug
            elif rejection.id:
                by_id[rejection.id] = rejection.slug
        for offset, line in enumerate(lines if by_id else ()):
            slug = by_id.get(_id_of(line))
            if slug is not None:
                yield self.positions[offset], slug


class Rejection(NamedTuple):
    """An event that an endpoint did not take, as its receipt names it."""

    #: Empty where the receipt gives none.
    id: str
    slug: str
    #: Counted from 0; None where the receipt does not say.
    place: int | None = None

    def names(self, line: bytes) -> bool:
        """Whether the event at its place may be the one that is meant."""
        return not self.id or _id_of(line) == self.id


def _id_of(line: bytes) -> str:
    return str(json.loads(line).get("id"))
