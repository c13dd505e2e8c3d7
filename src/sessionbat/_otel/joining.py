"""Two arrivals of one span become one: a span and its log record, a run and its end, one twice.

Whatever the order: where both say something, a rule that does not look at the order decides.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from sessionbat._otel import feedback, langsmith_runs, names, values
from sessionbat._otel.content_facts import mark_content, with_content
from sessionbat._otel.endings import mark_ending
from sessionbat._otel.parts import Event, Facts, Kind, Part, unplaced

#: Messages of one call that came as log records.
MAX_LOGGED: Final = 2_000

_RANK: Final[dict[Kind, int]] = {
    "log": 0,
    "structure": 1,
    "feedback": 2,
    "retrieval": 3,
    "tool": 4,
    "llm": 5,
}
_SIDES: Final = (("in", "input"), ("out", "output"))
_T = TypeVar("_T")


def join(earlier: Part, later: Part) -> Part:
    """Make one of two parts of the same key: a span and its log record, a run and its end.

    The order does not matter, nor does one that arrives twice.
    """
    if earlier.facts.from_transcript and not (earlier.facts.is_piece and later.facts.is_piece):
        return min(earlier, later, key=_when)
    if earlier.facts.event_id is not None or later.facts.event_id is not None:
        return max(earlier, later, key=_as_sent)
    if "feedback" in (earlier.facts.kind, later.facts.kind):
        return feedback.latest(earlier, later)
    if earlier.facts.is_untyped != later.facts.is_untyped:
        earlier, later = _typed(earlier, later), _typed(later, earlier)
    facts = _joined_facts(earlier.facts, later.facts)
    event = _joined_events(earlier, later, facts)
    if event is None:
        return Part(earlier.key, facts, None)
    facts = _without_given_up(facts, event)
    return Part(earlier.key, with_content(facts, event), event)


def _when(part: Part) -> tuple[int, str]:
    at = part.facts.start_ns
    return (2**63 if at is None else at, values.canonical(part.event and unplaced(part.event)))


def _as_sent(part: Part) -> tuple[bool, str]:
    return (part.facts.event_id is not None, values.canonical(part.event))


def _typed(part: Part, other: Part) -> Part:
    return langsmith_runs.typed(part, other.facts.kind) if part.facts.is_untyped else part


def _joined_facts(one: Facts, other: Facts) -> Facts:
    kind = max(one.kind, other.kind, key=lambda each: _RANK.get(each, 0))
    made: dict[str, Any] = {"kind": kind}
    for name, a, b in zip(Facts._fields, one, other, strict=True):
        if name not in ("kind", "logged", "metrics", "about"):
            made[name] = _of_both(name, a, b)
    made["is_log"] = one.is_log and other.is_log
    made["has_sums"] = made["has_sums"] and kind == "structure"
    logged = sorted({*one.logged, *other.logged})
    return Facts(**made, logged=tuple(logged[:MAX_LOGGED]))


def _of_both(name: str, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if name == "start_ns":
        return min(a, b)
    if isinstance(a, str) and isinstance(b, str):
        return max(a, b, key=lambda each: (len(each), each))
    return max(a, b)


def _joined_events(one: Part, other: Part, facts: Facts) -> Event | None:
    if one.event is None or other.event is None:
        lone = other.event if one.event is None else one.event
        return None if lone is None else _marked(unplaced(lone), facts)
    a, b = unplaced(one.event), unplaced(other.event)
    made = _merged(a, b)
    observation = made["observation"]
    for side, key in _SIDES:
        observation[key] = _content(one, other, (a, b), side, key)
    return _marked(made, facts)


def _content(one: Part, other: Part, events: tuple[Event, Event], side: str, key: str) -> Any:
    """Join what was asked, or answered: a span's own counts before what came as log records."""
    found = []
    for part, event in zip((one, other), events, strict=True):
        value = event["observation"].get(key)
        if value is not None:
            found.append((any(each[1] == side for each in part.facts.logged), value, part))
    whole = [value for is_logged, value, _ in found if not is_logged]
    if whole or not found:
        return max(whole, key=_weight, default=None)
    entries: dict[tuple[int, str, str], Any] = {}
    for _, value, part in found:
        own = [each for each in part.facts.logged if each[1] == side]
        entries.update(zip(own, value["messages"], strict=False))
    return {"messages": [entries[each] for each in sorted(entries)[:MAX_LOGGED]]}


def _without_given_up(facts: Facts, event: Event) -> Facts:
    """Forget log records whose messages the span's own have replaced."""
    kept = []
    for side, key in _SIDES:
        own = [each for each in facts.logged if each[1] == side]
        said = event["observation"].get(key)
        messages = said.get("messages") if isinstance(said, dict) else None
        if isinstance(messages, list) and own and _are_these(messages, own):
            kept += own
    return facts._replace(logged=tuple(sorted(kept)))


def _are_these(messages: list[Any], entries: list[tuple[int, str, str]]) -> bool:
    if len(messages) != len(entries):
        return False
    digests = (values.digest(values.canonical({"messages": [each]})) for each in messages)
    return all(made == entry[2] for made, entry in zip(digests, entries, strict=True))


def _marked(event: Event, facts: Facts) -> Event:
    event = _of_kind(event, facts)
    mark_content(event, facts)
    mark_ending(event, facts)
    return event


def _of_kind(event: Event, facts: Facts) -> Event:
    kind = "llm" if facts.kind in ("log", "structure") else facts.kind
    observation = {**event["observation"], "kind": kind}
    if facts.kind != "structure" and observation["metadata"].get(names.AGGREGATE) is True:
        metadata = {k: v for k, v in observation["metadata"].items() if k != names.AGGREGATE}
        observation["metadata"] = metadata
    return {**event, "type": kind, "observation": observation}


def _merged(a: _T, b: _T) -> _T:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b}, key=str)
        return {key: _of_two(key, a.get(key), b.get(key)) for key in keys}  # type: ignore[return-value]
    if isinstance(a, list) and isinstance(b, list) and a != b:
        strings = {each for each in (*a, *b) if isinstance(each, str)}
        if len(strings) == len({*map(str, a), *map(str, b)}):
            return sorted(strings)  # type: ignore[return-value]
    return max(a, b, key=_weight)


def _of_two(key: str, a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if key == "started_at":
        return min(str(a), str(b))
    if key in ("input", "output"):
        return max(a, b, key=_weight)  # decided apart
    return _merged(a, b)


def _weight(value: Any) -> tuple[int, str]:
    written = values.canonical(value)
    return len(written), written
