"""The records that the store takes and returns: plain frozen data, independent of the database.

Ingestion makes received events; the read API and the pages turn the others into JSON and HTML.
Nothing here depends on SQL or HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

Item = TypeVar("Item")

Span = Literal["hour", "day"]
SessionSort = Literal["last_activity", "duration", "cost", "errors"]
Group = Literal["app", "model", "tool"]
KeyKind = Literal["ingest", "read", "admin", "feedback"]
#: gone: moved, deleted or replaced while open. failing: the disk answers with errors.
StoreState = Literal["well", "gone", "damaged", "full", "read-only", "failing", "slow"]


class ReceivedEvent(NamedTuple):
    """An event that has passed ``sessionbat.event.find_problem``, on its way into the store."""

    #: Its JSON exactly as received: UTF-8, one value, valid for strict parsers.
    raw: bytes
    #: The same, decoded; only its envelope and figures are read from here.
    event: dict[str, Any]
    #: When it was received: microseconds since 1970, UTC.
    received_at_us: int


class PreparedEvent:
    """An event as a store prepared it; only that store reads more of it than ``work``."""

    __slots__ = ()

    @property
    def work(self) -> int:
        """The estimated cost of storing it inside the transaction, in microseconds."""
        raise NotImplementedError


class StoreHealth(NamedTuple):
    """The health of the store as a whole."""

    state: StoreState
    #: The problem and its fix; empty when well. Contains the file's path, so not for clients.
    message: str

    @property
    def is_well(self) -> bool:
        """Whether it accepts new events."""
        return self.state == "well"

    @property
    def slug(self) -> str:
        """The name of its entry in ``docs/messages.md``, and of errors raised for it."""
        return f"store-{self.state}"


WELL: Final = StoreHealth("well", "")


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One session as a list shows it; every figure counts each event once. Times are UTC."""

    app: str
    session_id: str
    #: Times of the earliest and latest event, in RFC 3339. An event whose time is later than its
    #: receipt counts at the time of receipt; the event itself keeps its time.
    first_at: str
    last_at: str
    #: The number of distinct interaction ids.
    interactions: int
    observations: int
    llm_calls: int
    tool_calls: int
    retrievals: int
    #: Observations whose ``error`` is not null.
    errors: int
    #: Sums over the ``metrics`` of that name, where they are numbers from 0 to 10⁹.
    input_tokens: int
    output_tokens: int
    #: Sum over ``metrics.cost_usd``, to the billionth of a dollar.
    cost_usd: float
    #: Sum of the estimated costs, in dollars, of model calls without ``cost_usd``; not part of it.
    cost_estimated: float
    #: The user's first words in one line; empty when none are recorded.
    title: str
    #: False if an event was imported without its time: ``first_at`` and ``last_at`` are then times
    #: of the import.
    times_known: bool = True
    #: What users and the app say of it: events that are no observations. Their times count.
    feedback: int = 0

    @property
    def events(self) -> int:
        """How many events are stored of it."""
        return self.observations + self.feedback


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """A filter for the session list; a session has to meet every condition given.

    A session has a label when any of its events has it.
    """

    #: Keys and values; only the reserved keys and those that the store was opened with.
    context: tuple[tuple[str, str], ...] = ()
    tag: str | None = None
    model: str | None = None
    tool: str | None = None
    kind: str | None = None
    error_type: str | None = None
    #: True: with errors; False: without any.
    error: bool | None = None
    #: With activity at or after ``since`` and before ``until``: sessions that overlap this time.
    since: datetime | None = None
    until: datetime | None = None
    #: Input and output together.
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_cost_usd: float | None = None
    max_cost_usd: float | None = None
    #: The latency of the slowest observation.
    min_latency_ms: float | None = None
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter for exports; an event has to meet every condition given."""

    app: str | None = None
    session_id: str | None = None
    #: All events of sessions in which this user has an event.
    user_id: str | None = None
    kind: str | None = None
    #: True: only failed events; False: only successful ones.
    error: bool | None = None
    #: At or after ``since`` and before ``until``, by the event's own time.
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """The amounts that a deletion removed from the store."""

    sessions: int = 0
    events: int = 0
    #: The compressed size of their JSON on disk.
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        """Add up two deletions."""
        return Removed(
            self.sessions + other.sessions, self.events + other.events, self.bytes + other.bytes
        )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as received, with its position in the session."""

    id: str
    #: Its JSON, byte for byte as received.
    raw: bytes
    #: Its estimated cost in dollars; None if its app gave one, or none can be estimated.
    cost_estimated: float | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The decoded event; decoded again at each access.

        Integers keep all their digits; one of more than 4,300 digits is given as its text.
        """
        decoded: dict[str, Any] = json.loads(self.raw, parse_int=_parse_int)
        return decoded


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An event found by a search."""

    app: str
    session_id: str
    id: str
    #: Its time, RFC 3339.
    at: str
    kind: str
    #: Some words around the first match, in one line; plain text, not markup.
    snippet: str
    #: Start and end of each match in the snippet, in code points.
    highlights: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Statistic:
    """Figures of one hour or day in UTC: in total, or of one app, model or tool."""

    #: When it began, RFC 3339.
    at: str
    #: The app, model or tool; None without grouping.
    group: str | None
    #: The number of observations.
    count: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    #: Estimated for model calls without ``cost_usd``, in dollars; not part of it.
    cost_estimated: float
    #: Within 5 % of the true percentile; None when no observation has a latency.
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    latency_ms_p99: float | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as stored, without the key itself. Times are RFC 3339."""

    #: The part of the key that is not secret; identifies it in lists and for revoking.
    id: str
    kind: KeyKind
    #: The only app it is for; None: every app.
    app: str | None
    name: str
    #: SHA-256 of the whole key.
    digest: bytes = field(repr=False)
    created_at: str
    #: None while the key is valid.
    revoked_at: str | None = None
    #: From which web pages a feedback key may be used: as browsers name them, ``https://host``.
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreMeasures:
    """The size of a store, and how far its derived data is behind."""

    #: Events stored.
    events: int
    #: Events that search and statistics do not have yet, and the time the oldest has waited.
    events_behind: int
    seconds_behind: float
    #: Events of which only the beginning is searched; at most 1,000 are counted.
    events_in_part: int
    #: Sizes on disk: the file, and the write-ahead log.
    bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class AppActivity:
    """An app that has sessions, and the time of its latest activity."""

    app: str
    sessions: int
    #: RFC 3339 of the latest activity of any session.
    last_at: str


@dataclass(frozen=True, slots=True)
class AppMeasures:
    """The share of a store that one app uses."""

    app: str
    events: int
    #: The compressed size of its events' JSON on disk.
    bytes: int


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list, and the cursor for the next page (None at the end)."""

    items: list[Item]
    next: str | None
    #: The number of items skipped because of damage; only an export skips items.
    unreadable: int = 0
    #: For a search: the number of events that it may miss, because only the beginning of each is
    #: searched; at most 1,000 are counted.
    searched_in_part: int = 0


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # beyond sys.get_int_max_str_digits()
        return digits
