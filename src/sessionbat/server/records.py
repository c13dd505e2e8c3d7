"""What the store hands back: plain frozen records, the same whatever database is behind them.

The read API and the pages turn these into JSON and HTML; detectors will read them. Nothing here
knows of SQL or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One session as a list shows it; every figure counts each event once. Times are UTC."""

    app: str
    session_id: str
    #: RFC 3339 of the earliest and latest event.
    first_at: str
    last_at: str
    interactions: int
    observations: int
    llm_calls: int
    tool_calls: int
    retrievals: int
    errors: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was received, with its place in the session."""

    id: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a longer list, and the cursor that continues after them (None: the end)."""

    items: list[Item]
    next: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch that was handed to the store."""

    accepted: int
    duplicates: int
