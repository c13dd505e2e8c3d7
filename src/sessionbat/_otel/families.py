"""Who is whose parent among the parts, and what a part inherits from those above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Facts

#: Kinds that may become events of their own.
EVENTS: Final = frozenset({"llm", "tool", "retrieval", "feedback"})


class Families:
    """The parts of several traces as trees, parents before children."""

    def __init__(self, parts: Mapping[SpanKey, Facts]) -> None:
        self.parts = parts
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
        named = self.parts[key].parent
        above = SpanKey(key.trace, named) if named else None
        return above if above in self.parts and above != key else None

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


def is_event(facts: Facts) -> bool:
    """Whether a part tells of an operation, not of structure or of a piece of one."""
    return facts.kind in EVENTS
