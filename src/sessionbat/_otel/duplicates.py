"""Which parts tell of one and the same call: one within the other, or with the same response id.

Parenthood alone does not tell: LangChain's span and its client's may be siblings, or in different
traces. The response id alone does not either: some servers give the same one again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sessionbat._otel.families import Families, is_event
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Facts

#: Spans of one response id at one time that are compared with one another.
MAX_COMPARED: Final = 16

#: Instrumentation that wraps whatever looks like a model's method.
_INSTRUMENTORS: Final = ("openinference.instrumentation.", "opentelemetry.instrumentation.")

Class = tuple[str, str]


class Groups:
    """Sets of parts, each of one call."""

    def __init__(self, keys: Iterable[SpanKey]) -> None:
        self._leader = {key: key for key in keys}

    def __contains__(self, key: SpanKey) -> bool:
        return key in self._leader

    def of(self, key: SpanKey) -> SpanKey:
        """Give the one key that stands for all of its group."""
        root = key
        while self._leader[root] != root:
            root = self._leader[root]
        while self._leader[key] != root:
            self._leader[key], key = root, self._leader[key]
        return root

    def unite(self, one: SpanKey, other: SpanKey) -> None:
        """Say that two are of one call."""
        first, second = sorted((self.of(one), self.of(other)))
        self._leader[second] = first

    def members(self) -> dict[SpanKey, list[SpanKey]]:
        """Give all groups."""
        found: dict[SpanKey, list[SpanKey]] = {}
        for key in sorted(self._leader):
            found.setdefault(self.of(key), []).append(key)
        return found


def groups_of(families: Families) -> tuple[Groups, set[SpanKey]]:
    """Group the parts that may become events; the second are sums and shells, which do not."""
    parts = families.parts
    keys = [
        key for key in families.order if is_event(parts[key]) and not parts[key].from_transcript
    ]
    groups = Groups(keys)
    shells = _shells(families, keys)
    calls = [key for key in keys if key not in shells and not parts[key].is_question]
    _unite_by_response(parts, calls, groups)
    _unite_twins(parts, calls, groups)
    sums = _unite_nested(families, keys, shells, groups)
    return groups, shells | sums | _unite_questions(families, calls, groups)


def class_of(facts: Facts) -> Class:
    """What a part tells of: only parts of one class may be one call."""
    return facts.kind, (facts.tool or "") if facts.kind == "tool" else facts.operation


def _shells(families: Families, keys: list[SpanKey]) -> set[SpanKey]:
    """Find model calls that say nothing, of an instrumentation whose others in the trace do.

    LlamaIndex has a span for the preparing of a call, too.
    """
    parts = families.parts
    telling = {
        (key.trace, parts[key].scope) for key in keys if _is_llm(parts[key]) and _tells(parts[key])
    }
    return {
        key
        for key in keys
        if _is_llm(parts[key])
        and parts[key].scope.startswith(_INSTRUMENTORS)
        and not _tells_or_failed(parts[key])
        and (key.trace, parts[key].scope) in telling
        and not families.children.get(key)
        and not _is_only_child_of_llm(families, key)
    }


def _is_only_child_of_llm(families: Families, key: SpanKey) -> bool:
    above = families.parent[key]
    return above is not None and _is_llm(families.parts[above])


def _is_llm(facts: Facts) -> bool:
    return facts.kind == "llm" and not facts.operation and facts.event_id is None


def _tells(facts: Facts) -> bool:
    return facts.response_id is not None or facts.has_tokens or facts.has_messages


def _tells_or_failed(facts: Facts) -> bool:
    return _tells(facts) or facts.error_type is not None


def _unite_nested(
    families: Families, keys: list[SpanKey], shells: set[SpanKey], groups: Groups
) -> set[SpanKey]:
    """Unite a call with the one call within it; find those around several, which are sums."""
    wrapped: dict[SpanKey, list[SpanKey]] = {}
    calls = {key for key in keys if key not in shells and not families.parts[key].is_question}
    for key, around in _enclosing(families).items():
        if around is not None and around in calls and key in calls:
            wrapped.setdefault(around, []).append(key)
    sums = set()
    for around in keys:  # parents first
        inner = wrapped.get(around)
        if inner is None:
            continue
        same = [key for key in inner if _has_id_of(families.parts, key, around)]
        for key in same:
            groups.unite(around, key)
        inner = [key for key in inner if not _has_other_id(families.parts, key, around)]
        if not same and len({groups.of(key) for key in inner}) == 1:
            for key in inner:
                groups.unite(around, key)
        elif not same and len(inner) > 1 and families.parts[around].kind == "llm":
            sums.add(around)
    return sums


def _unite_questions(families: Families, calls: list[SpanKey], groups: Groups) -> set[SpanKey]:
    """Give each question to the last failed call of its agent that has none; find the rest."""
    parts = families.parts
    waiting: dict[SpanKey, SpanKey] = {}
    for key in calls:
        above = families.parent[key]
        facts = parts[key]
        if above is None or not _is_llm(facts) or facts.error_type is None or facts.has_messages:
            continue
        other = waiting.get(above)
        if other is None or (_start(parts[other]), other) < (_start(facts), key):
            waiting[above] = key
    left = set()
    for key in families.order:
        if parts[key].is_question and key in groups:
            above = families.parent[key]
            call = waiting.get(above) if above is not None else None
            if call is None:
                left.add(key)
            else:
                groups.unite(key, call)
    return left


def _enclosing(families: Families) -> dict[SpanKey, SpanKey | None]:
    """For each part the next call around it of the same class, with nothing but steps between."""
    parts = families.parts
    around: dict[SpanKey, SpanKey | None] = {}
    nearest: dict[SpanKey, SpanKey | None] = {}  # the next call or agent at or above each
    for key in families.order:
        above = families.parent[key]
        next_one = nearest[above] if above is not None else None
        is_same = (
            next_one is not None
            and is_event(parts[next_one])
            and class_of(parts[next_one]) == class_of(parts[key])
            and parts[next_one].event_id is None
            and not parts[key].from_transcript
        )
        around[key] = next_one if is_same else None
        is_barrier = is_event(parts[key]) or parts[key].is_agent
        nearest[key] = key if is_barrier else next_one
    return around


def _has_id_of(parts: Mapping[SpanKey, Facts], key: SpanKey, other: SpanKey) -> bool:
    said = parts[key].response_id or parts[key].call_id
    return said is not None and said in (parts[other].response_id, parts[other].call_id)


def _has_other_id(parts: Mapping[SpanKey, Facts], key: SpanKey, other: SpanKey) -> bool:
    one, two = parts[key].response_id, parts[other].response_id
    is_apart = parts[key].is_log or parts[other].is_http  # elsewhere an outer id may be its own
    return is_apart and one is not None and two is not None and one != two


def _unite_by_response(parts: Mapping[SpanKey, Facts], keys: list[SpanKey], groups: Groups) -> None:
    by_id: dict[tuple[Class, str], list[SpanKey]] = {}
    for key in keys:
        id_ = parts[key].response_id
        if id_ is not None and parts[key].event_id is None:
            by_id.setdefault((class_of(parts[key]), id_), []).append(key)
    for same in _several(by_id):
        _unite_overlapping(parts, sorted(same, key=lambda key: (_start(parts[key]), key)), groups)


def _unite_overlapping(parts: Mapping[SpanKey, Facts], keys: list[SpanKey], groups: Groups) -> None:
    for place, key in enumerate(keys):
        for other in keys[place + 1 : place + 1 + MAX_COMPARED]:
            if _are_one(parts[key], parts[other]):
                groups.unite(key, other)


def _unite_twins(parts: Mapping[SpanKey, Facts], keys: list[SpanKey], groups: Groups) -> None:
    """Unite calls with the same question and answer, where one lacks a response id."""
    by_twin: dict[str, list[SpanKey]] = {}
    for key in keys:
        twin = parts[key].twin
        if twin is not None and parts[key].event_id is None:
            by_twin.setdefault(twin, []).append(key)
    for same in _several(by_twin):
        ordered = sorted(same, key=lambda key: (_start(parts[key]), key))
        for place, key in enumerate(ordered):
            for other in ordered[place + 1 : place + 1 + MAX_COMPARED]:
                has_both = parts[key].response_id and parts[other].response_id
                if not has_both and _are_one(parts[key], parts[other]):
                    groups.unite(key, other)


def _several(by_any: Mapping[Any, list[SpanKey]]) -> list[list[SpanKey]]:
    return [same for same in by_any.values() if len(same) > 1]


def _are_one(one: Facts, other: Facts) -> bool:
    """Whether two with the same response id, neither in the other, are one call.

    One instrumentation does not tell of a call twice: two of its own are two calls.
    """
    if one.scope == other.scope or _are_of_different_words(one, other):
        return False
    if None in (one.start_ns, one.end_ns, other.start_ns, other.end_ns):
        return False
    starts = max(_start(one), _start(other))
    ends = min(one.end_ns or 0, other.end_ns or 0)
    return starts < ends


def _are_of_different_words(one: Facts, other: Facts) -> bool:
    if one.asked is None or other.asked is None:
        return False
    return one.asked.rpartition(":")[2] != other.asked.rpartition(":")[2]


def _start(facts: Facts) -> int:
    return facts.start_ns or 0
