"""One event, read once: the figures, labels and words that every store files it by.

Pure functions of the decoded event, whatever the database; called on arrival and by a rebuild.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sessionbat.event import LLM, TOOL
from sessionbat.server.store.first_words import first_words

#: A label longer than this is cut: nobody filters by an essay.
MAX_LABEL_CHARACTERS: Final = 200

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_YEAR_9999_US: Final = 253_370_764_800_000_000
# No call has a thousand million tokens, or costs a million dollars; what claims more must not
# overflow the session's sum.
_MAX_TOKENS: Final = 10**9
_MAX_COST_USD: Final = 10**6
_MAX_LABELS: Final = 64

Label = tuple[str, str]


class Title(NamedTuple):
    """What an event says about its session's name; see ``first_words``."""

    rank: int
    at_us: int
    words: str

    def is_better_than(self, other: Title) -> bool:
        """Whether it names the session rather than the other does: better words, or earlier."""
        return (self.rank, -self.at_us) > (other.rank, -other.at_us)


class Reading(NamedTuple):
    """What an event is filed by. Times are microseconds since 1970, UTC."""

    event_id: str
    session_id: str
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
    cost_usd: float | None
    error_type: str | None
    labels: frozenset[Label]
    title: Title

    @property
    def cost_nanos(self) -> int:
        """The cost in whole billionths of a dollar, 0 when it is unknown or not sane."""
        return cost_nanos(self.cost_usd)


def read(event: Mapping[str, Any], received_at_us: int, context_keys: Sequence[str]) -> Reading:
    """Read an event that has passed ``find_problem``.

    Args:
        event: Decoded.
        received_at_us: Its time where it names none.
        context_keys: The keys of its context that become labels.
    """
    observation = event["observation"]
    metrics = observation.get("metrics") or {}
    at_us = _parse_time(event.get("created_at"), otherwise=received_at_us)
    name = _text(observation.get("name"))
    model = _text((observation.get("metadata") or {}).get("model"))
    error_type = _error_type(observation.get("error"))
    kind = observation["kind"]
    labels = _labels(event, context_keys, kind, name, model, error_type)
    return Reading(
        event_id=event["id"],
        session_id=event["session_id"],
        interaction_id=event.get("interaction_id") or None,
        at_us=at_us,
        received_at_us=received_at_us,
        kind=kind,
        name=name,
        model=model,
        failed=observation.get("error") is not None,
        latency_ms=_number(metrics.get("latency_ms")),
        input_tokens=_tokens(metrics.get("input_tokens")),
        output_tokens=_tokens(metrics.get("output_tokens")),
        cost_usd=_number(metrics.get("cost_usd")),
        error_type=error_type,
        labels=frozenset(labels),
        title=_title(observation, at_us),
    )


def cost_nanos(cost_usd: float | None) -> int:
    """Turn dollars into whole billionths; what is unknown or not sane is 0."""
    is_sane = cost_usd is not None and 0 <= cost_usd <= _MAX_COST_USD
    return round(cost_usd * 1e9) if cost_usd is not None and is_sane else 0


def rfc3339(at_us: int) -> str:
    """Write microseconds since 1970 as RFC 3339 in UTC."""
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(at: datetime) -> int:
    """Count the microseconds since 1970 of a time; one without a zone is UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _parse_time(value: Any, *, otherwise: int) -> int:
    if not isinstance(value, str):
        return otherwise
    try:
        at_us = microseconds(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return otherwise
    return at_us if 0 <= at_us < _YEAR_9999_US else otherwise


def _title(observation: Mapping[str, Any], at_us: int) -> Title:
    rank, words = first_words(observation)
    return Title(rank, at_us, words)


def _labels(
    event: Mapping[str, Any],
    context_keys: Sequence[str],
    kind: str,
    name: str | None,
    model: str | None,
    error_type: str | None,
) -> set[Label]:
    labels = {("kind", kind[:MAX_LABEL_CHARACTERS])}
    if kind == LLM and model:
        labels.add(("model", model[:MAX_LABEL_CHARACTERS]))
    if kind == TOOL and name:
        labels.add(("tool", name[:MAX_LABEL_CHARACTERS]))
    if error_type:
        labels.add(("error_type", error_type[:MAX_LABEL_CHARACTERS]))
    for tag in (event.get("tags") or ())[:_MAX_LABELS]:
        labels.add(("tag", tag[:MAX_LABEL_CHARACTERS]))
    labels.update(_context_labels(event.get("context") or {}, context_keys))
    return labels


def _context_labels(context: Mapping[str, Any], keys: Sequence[str]) -> Iterator[Label]:
    for key in keys:
        value = context.get(key)
        if isinstance(value, bool):
            yield f"context.{key}", "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield f"context.{key}", str(value)[:MAX_LABEL_CHARACTERS]


def _error_type(error: Any) -> str | None:
    return _text(error.get("type")) if isinstance(error, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _tokens(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_TOKENS else None
