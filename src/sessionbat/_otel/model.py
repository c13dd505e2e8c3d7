"""A span and a log record as they arrive, whichever wire brought them, and what is made of them.

A receiver decodes a request into ``Span`` and ``LogRecord``; ``mapping`` turns each of these,
alone, into ``Part``s; ``placing`` looks at the facts of all parts that belong together and says
which of them become events, in which session. The second step may change when more arrives, so
facts hold no content: a store keeps them, and the content only in the event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

#: An attribute's value: what JSON has, and bytes.
Value = Any


@dataclass(frozen=True, slots=True)
class Scope:
    """Which instrumentation speaks, and of which process."""

    name: str = ""
    version: str = ""
    #: ``service.name``, ``deployment.environment.name`` and the like.
    resource: Mapping[str, Value] = field(default_factory=dict)
    #: What was found out about it, for the next span of the same.
    known: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span."""

    name: str
    time_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Times are nanoseconds since 1970, None where the sender names none."""

    trace_id: str  # lower-case hex where it came by OTLP, else as the sender writes it
    span_id: str
    parent_id: str | None
    name: str
    start_ns: int | None
    end_ns: int | None
    status: Literal["unset", "ok", "error"] = "unset"
    status_message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record that names the span it belongs to."""

    trace_id: str
    span_id: str
    name: str  # the event's name; empty where there is none
    time_ns: int | None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    body: Value = None
    scope: Scope = field(default_factory=Scope)


class SpanKey(NamedTuple):
    """What names a part within an app."""

    trace: str
    span: str
