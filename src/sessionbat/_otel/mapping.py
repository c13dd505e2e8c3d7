"""One span, or one log record, to parts; alone and without state."""

from __future__ import annotations

from collections.abc import Sequence

from sessionbat._otel.model import LogRecord, Span
from sessionbat._otel.parts import Part


def map_span(span: Span) -> Sequence[Part]:
    """Map a span; never raises. Its own part is first, then tool calls known from its messages."""
    raise NotImplementedError


def map_log(record: LogRecord) -> Sequence[Part]:
    """Map a log record that holds messages of a model call; nothing for any other."""
    raise NotImplementedError
