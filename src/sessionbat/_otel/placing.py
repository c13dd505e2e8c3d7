"""Which parts become events, and where they belong; looks at facts only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sessionbat._otel.model import SpanKey
from sessionbat._otel.parts import Event, Facts, Part, Place


def place(parts: Mapping[SpanKey, Facts]) -> dict[SpanKey, Place]:
    """Say which parts become events, and where; a part that is missing here becomes none.

    The answer depends on the parts only, not on their order. Give all known parts of the traces
    in question, and those of other traces of the app that share one of ``Facts.joins``.
    """
    raise NotImplementedError


def assemble(parts: Iterable[Part]) -> list[Event]:
    """Join, place and apply in memory: the events of all these parts, oldest first."""
    raise NotImplementedError
