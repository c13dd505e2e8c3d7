"""Events that come in parts: spans, and what else tells of one, and the rules that place them.

A part may say something of others: a span that names a session says so for its whole trace. So a
store keeps of each part what decides (its facts), and asks the rules anew whenever more arrives.
The rules are pure functions, given with each part: no store knows what a span is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Event = dict[str, Any]


class SpanKey(NamedTuple):
    """What names a part within an app."""

    trace: str
    span: str


class Facts(Protocol):
    """What of a part decides where its event belongs; holds no content."""

    @property
    def session(self) -> str | None:
        """The session that it names itself."""

    @property
    def joins(self) -> tuple[str, ...]:
        """Keys that it shares with parts of other traces which may tell of the same call."""


class Place(Protocol):
    """Where a part's event belongs, as far as is known."""

    def apply(self, event: Event) -> Event:
        """Give the event at this place; of one that was placed before, what it is now."""


class Told(NamedTuple):
    """What is known of one part."""

    facts: Any  # Facts, of the kind that these rules read
    #: Complete but for its place; None for a part that is no event by itself.
    event: Event | None


class Rules(Protocol):
    """How parts become events. Nothing here depends on the order in which they arrive."""

    def read(self, data: bytes) -> Facts:
        """Read facts as ``write`` wrote them."""

    def write(self, facts: Any) -> bytes:
        """Write facts as a store keeps them."""

    def join(self, key: SpanKey, earlier: Told, later: Told) -> Told:
        """Make one of two that have the same key; of the same twice, the same."""

    def place(self, parts: Mapping[SpanKey, Any]) -> Mapping[SpanKey, Place]:
        """Say which of some parts become events, and where; what is missing becomes none."""

    def unplaced(self, event: Event) -> Event:
        """Give an event without what any place gave it."""

    def fingerprint(self, place: Any) -> bytes:
        """Give a few bytes that differ when places do."""


class ReceivedPart(NamedTuple):
    """A part on its way into the store."""

    app: str
    key: SpanKey
    facts: Facts
    event: Event | None
    #: When it was received: microseconds since 1970, UTC.
    received_at_us: int
    rules: Rules
