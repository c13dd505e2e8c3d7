"""Extracts the figures, labels and title of an event, by which every store indexes it.

Pure functions of the decoded event, independent of the database; used on arrival and by a rebuild.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sessionbat.event import FEEDBACK, LLM, TOOL
from sessionbat.server.reading.times import marks_times_unknown, parse_time
from sessionbat.server.reading.title import BEST, first_words
from sessionbat.server.reading.usage import Estimate, read_usage

#: A label longer than this is cut: nobody filters by an essay.
MAX_LABEL_CHARACTERS: Final = 200

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_YEAR_9999_US: Final = 253_370_764_800_000_000
# No call has a billion tokens or costs a million dollars; larger claims must not overflow the
# session's sum.
_MAX_TOKENS: Final = 10**9
_MAX_COST_USD: Final = 10**6
_MAX_LABELS: Final = 64

Label = tuple[str, str]

_NO_OBSERVATION: Final[Mapping[str, Any]] = {"kind": FEEDBACK}

#: The label of sessions with an event that was imported without its time.
TIMES_UNKNOWN: Final[Label] = ("times", "unknown")


class Title(NamedTuple):
    """A candidate for a session's title, from one event; see ``reading.title``."""

    rank: int
    words: str
    at_us: int

    def is_better_than(self, other: Title) -> bool:
        """Whether it is preferred over another: better words, or as good and earlier."""
        return (self.rank, -self.at_us) > (other.rank, -other.at_us)

    def can_be_bettered_at(self, at_us: int) -> bool:
        """Whether an event of that time could have a better title."""
        return self.rank < BEST or at_us < self.at_us


@dataclass(slots=True)  # not frozen, and no tuple: either would cost a microsecond of each event
class EventFigures:
    """The indexed values of an event. Times are microseconds since 1970, UTC."""

    event_id: str
    session_id: str
    #: None of feedback, too: what is said of a turn makes no turn.
    interaction_id: str | None
    at_us: int
    received_at_us: int
    kind: str
    name: str | None
    model: str | None
    failed: bool
    latency_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    #: The cost that the app gave.
    cost_usd: float | None
    #: The estimated cost of a model call for which the app gave none.
    estimated_usd: float | None
    error_type: str | None
    #: The labels of its kind, and those of its tags and context; separate, because each set alone
    #: often repeats.
    own_labels: frozenset[Label]
    shared_labels: frozenset[Label]
    observation: Mapping[str, Any]
    #: The time of its activity: its own time, but no later than its receipt. A client's clock may
    #: be ahead, or an event forged; its session must not become the latest of all for that, nor be
    #: kept for ever.
    active_at_us: int

    @property
    def title(self) -> Title:
        """Its candidate for the session's title; computed at each access, since few are needed."""
        return Title(*first_words(self.observation), self.at_us)


def read(
    event: Mapping[str, Any],
    received_at_us: int,
    context_keys: tuple[str, ...],
    estimate: Estimate | None = None,
) -> EventFigures:
    """Read an event that has passed ``find_problem``.

    Args:
        event: Decoded.
        received_at_us: The time to use when the event has none.
        context_keys: The context keys that become labels.
        estimate: Estimates the cost of model calls for which the app gave none; None: no estimates.
    """
    is_feedback = event["type"] == FEEDBACK
    observation = _NO_OBSERVATION if is_feedback else event["observation"]
    metrics, metadata = observation.get("metrics") or {}, observation.get("metadata") or {}
    kind, error = observation["kind"], observation.get("error")
    at_us = _parse_time(event.get("created_at"), received_at_us)
    name, model = _text(observation.get("name")), _text(metadata.get("model"))
    error_type = _text(error.get("type")) if type(error) is dict else None
    usage = None if estimate is None else read_usage(observation, model, at_us)
    return EventFigures(
        event["id"],
        event["session_id"],
        None if is_feedback else event.get("interaction_id") or None,
        at_us,
        received_at_us,
        kind,
        name,
        model,
        error is not None,
        _number(metrics.get("latency_ms")),
        _tokens(metrics.get("input_tokens")),
        _tokens(metrics.get("output_tokens")),
        _number(metrics.get("cost_usd")),
        None if estimate is None or usage is None else estimate(usage),
        error_type,
        _own_labels(kind, name, model, error_type, marks_times_unknown(metadata)),
        _shared_labels(
            tuple((event.get("tags") or ())[:_MAX_LABELS]),
            context_keys,
            tuple(_context_texts(event.get("context") or {}, context_keys)),
        ),
        observation,
        active_at(at_us, received_at_us),
    )


def active_at(at_us: int, received_at_us: int) -> int:
    """Compute when an event counts as activity; see ``EventFigures.active_at_us``."""
    return at_us if at_us < received_at_us else received_at_us


def cost_nanos(cost_usd: float | None) -> int:
    """Convert dollars to whole billionths; 0 when unknown or implausible."""
    if cost_usd is None or not 0 <= cost_usd <= _MAX_COST_USD:
        return 0
    return round(cost_usd * 1e9)


def rfc3339(at_us: int) -> str:
    """Write microseconds since 1970 as RFC 3339 in UTC."""
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(at: datetime) -> int:
    """Convert a time to microseconds since 1970; a time without a zone is UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _parse_time(value: Any, otherwise: int) -> int:
    moment = parse_time(value)
    if moment is None:
        return otherwise
    at_us = microseconds(moment)
    return at_us if 0 <= at_us < _YEAR_9999_US else otherwise


@lru_cache(1024)
def _own_labels(
    kind: str,
    name: str | None,
    model: str | None,
    error_type: str | None,
    has_no_time: bool,
) -> frozenset[Label]:
    labels = {("kind", kind[:MAX_LABEL_CHARACTERS])}
    if has_no_time:
        labels.add(TIMES_UNKNOWN)
    if kind == LLM and model:
        labels.add(("model", model[:MAX_LABEL_CHARACTERS]))
    if kind == TOOL and name:
        labels.add(("tool", name[:MAX_LABEL_CHARACTERS]))
    if error_type:
        labels.add(("error_type", error_type[:MAX_LABEL_CHARACTERS]))
    return frozenset(labels)


@lru_cache(1024)
def _shared_labels(
    tags: tuple[str, ...], context_keys: tuple[str, ...], context: tuple[str | None, ...]
) -> frozenset[Label]:
    labels = {("tag", tag[:MAX_LABEL_CHARACTERS]) for tag in tags}
    labels.update(
        (f"context.{key}", text[:MAX_LABEL_CHARACTERS])
        for key, text in zip(context_keys, context, strict=True)
        if text is not None
    )
    return frozenset(labels)


def _context_texts(context: Mapping[str, Any], keys: tuple[str, ...]) -> list[str | None]:
    return [
        value if value is None or type(value) is str else _label_text(value)
        for value in map(context.get, keys)
    ]


def _label_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if value is None or type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _tokens(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _MAX_TOKENS):
        return value
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_TOKENS else None
