"""The columns of ``events``, defined once for inserting, reading and rebuilding rows."""

from __future__ import annotations

from typing import Final, NamedTuple

from sessionbat.server.reading.figures import EventFigures, active_at, cost_nanos
from sessionbat.server.store.sqlite.known_rows import KnownSession
from sessionbat.server.store.sqlite.many_rows import columns


class EventRow(NamedTuple):
    """The indexed values of an event; each field is a column of the same name."""

    id: int
    app: int
    #: As ``pack_id`` makes it.
    event_id: str | bytes
    session: int
    interaction: int | None
    at_us: int
    received_at_us: int
    kind: str
    name: str | None
    model: str | None
    failed: int
    latency_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    error_type: str | None
    estimated_usd: float | None

    @property
    def active_at_us(self) -> int:
        """The time of its activity; see ``EventFigures.active_at_us``."""
        return active_at(self.at_us, self.received_at_us)

    @property
    def cost_nanos(self) -> int:
        """The cost in whole billionths of a dollar; 0 when unknown or implausible."""
        return cost_nanos(self.cost_usd)

    @property
    def estimated_nanos(self) -> int:
        """The estimate in whole billionths of a dollar; see ``EventFigures.estimated_nanos``."""
        return cost_nanos(self.estimated_usd)


EVENT_COLUMNS: Final = columns(EventRow)


def event_row(
    number: int, app: int, event_id: str | bytes, session: KnownSession, figures: EventFigures
) -> EventRow:
    """Make the row of an event, given the rows of its session and interaction."""
    interaction_id = figures.interaction_id
    # By place: by name it would take four microseconds of every event instead of two.
    return EventRow(
        number,
        app,
        event_id,
        session.row,
        None if interaction_id is None else session.interactions[interaction_id],
        figures.at_us,
        figures.received_at_us,
        figures.kind,
        figures.name,
        figures.model,
        figures.failed,
        figures.latency_ms,
        figures.input_tokens,
        figures.output_tokens,
        figures.cost_usd,
        figures.error_type,
        figures.estimated_usd,
    )
