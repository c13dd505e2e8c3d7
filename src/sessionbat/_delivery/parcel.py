"""A part of a batch on its way: what is sent, and which events of the batch it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sessionbat._delivery.batch import Batch
from sessionbat._delivery.compression import compress


@dataclass(frozen=True, slots=True)
class Parcel:
    """``count`` events of a batch from its ``first`` on, as NDJSON."""

    batch: Batch
    first: int
    count: int
    body: bytes

    @classmethod
    def whole(cls, batch: Batch) -> Parcel:
        """Make one of a whole batch."""
        return cls(batch, 0, batch.count, batch.body())

    def packed(self, coding: str) -> bytes:
        """Its events, compressed."""
        whole = self.count == self.batch.count
        return self.batch.packed(coding) if whole else compress(self.body, coding)

    def singles(self) -> Iterator[Parcel]:
        """Take it apart into single events."""
        for offset, line in enumerate(self.lines()):
            yield Parcel(self.batch, self.first + offset, 1, line)

    def split(self, count: int) -> tuple[Parcel, Parcel]:
        """Cut it after ``count`` events."""
        lines = self.lines()
        head, tail = lines[:count], lines[count:]
        return (
            Parcel(self.batch, self.first, len(head), b"\n".join(head)),
            Parcel(self.batch, self.first + count, len(tail), b"\n".join(tail)),
        )

    def anew(self) -> Parcel:
        """Make the same one of the events as they were recorded, before anything was cut.

        Raises:
            OSError: They are on disk only, and are not there any more.
        """
        lines = self.batch.body().rstrip(b"\n").split(b"\n")[self.first : self.first + self.count]
        return Parcel(self.batch, self.first, self.count, b"\n".join(lines))

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
                yield self.first + place, rejection.slug
            elif rejection.id:
                by_id[rejection.id] = rejection.slug
        for offset, line in enumerate(lines if by_id else ()):
            slug = by_id.get(_id_of(line))
            if slug is not None:
                yield self.first + offset, slug


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
