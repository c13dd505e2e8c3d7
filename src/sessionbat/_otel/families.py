"""Who is whose parent among the parts, and what a part inherits from those above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sessionbat._otel.langsmith_ids import span_id_by_otel
from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Facts

#: Kinds that may become events of their own.
EVENTS: Final = frozenset({"llm", "tool", "retrieval", "feedback"})


class Families:
    """The parts of several traces as trees, parents before children."""

    def __init__(self, parts: Mapping[SpanKey, Facts]) -> None:
        self.parts = parts
        self._runs = {f.run: key for key, f in parts.items() if f.run and not tells_of(f)}
        self.parent: dict[SpanKey, SpanKey | None] = {}
        children: dict[SpanKey, list[SpanKey]] = {}
        roots: list[SpanKey] = []
        for key in sorted(parts):
            above = self._named_parent(key)
            self.parent[key] = above
            (roots if above is None else children.setdefault(above, [])).append(key)
        self.children = children
        self.order: list[SpanKey] = []
        self.depth: dict[SpanKey, int] = {}
        self._walk(roots)
        for key in sorted(parts):  # what is left stands in circles, which no honest sender makes
            if key not in self.depth:
                self.parent[key] = None
                self._walk([key])

    def _named_parent(self, key: SpanKey) -> SpanKey | None:
        facts = self.parts[key]
        named = facts.parent
        above = SpanKey(key.trace, named) if named else None
        if above in self.parts:
            return above if above != key else None
        return self._named_by_feedback(key.trace, named) if named and tells_of(facts) else None

    def _named_by_feedback(self, trace: str, run: str) -> SpanKey | None:
        """Find a run that feedback names without its trace, or that came by OpenTelemetry."""
        above = SpanKey(trace, span_id_by_otel(run) or run)
        return above if above in self.parts else self._runs.get(run)

    def _walk(self, roots: list[SpanKey]) -> None:
        waiting = [(key, 0) for key in reversed(roots)]
        while waiting:
            key, depth = waiting.pop()
            if key in self.depth:
                continue
            self.depth[key] = depth
            self.order.append(key)
            waiting.extend((child, depth + 1) for child in self.children.get(key, ()))

    def by_trace(self) -> dict[str, list[SpanKey]]:
        """Give the keys of each trace, parents first."""
        traces: dict[str, list[SpanKey]] = {}
        for key in self.order:
            traces.setdefault(key.trace, []).append(key)
        return traces

    def upwards(self) -> Iterator[SpanKey]:
        """Give children before their parents."""
        return reversed(self.order)


def tells_of(facts: Facts) -> bool:
    """Whether a part is feedback: it is placed by what it tells of, and changes nothing else."""
    return facts.kind == "feedback" and facts.event_id is None


def is_event(facts: Facts) -> bool:
    """Whether a part tells of an operation, not of structure or of a piece of one."""
    return facts.kind in EVENTS
