"""Trace, span and parent of an event that goes out: the same for the same event at every sending.

Known ids are kept; the others are digests. Two events never share a span id: a backend would keep
one of them only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from sessionbat._otel import names, values

_TRACE: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")
#: The id of an event that a span has become, see ``envelopes.id_of``.
_OF_SPAN: Final = re.compile(f"({_TRACE.pattern})-({_SPAN.pattern})")


class SpanIds(NamedTuple):
    """Lower-case hex; no parent is empty."""

    trace: str
    span: str
    parent: str


def span_ids_of(event: Mapping[str, Any]) -> SpanIds:
    """Give the ids under which an event goes out.

    ``metadata.trace_id`` is the trace. ``metadata.span_id`` is the span where the event is that
    span's own, as its id says; else it is the span in which the observation was made, and so the
    parent of one that names no ``parent_observation_id``.
    """
    id_ = values.text(event.get("id"))
    metadata = values.dig(event, "observation", "metadata")
    trace = _known(_TRACE, values.dig(metadata, names.TRACE_ID))
    span = _span_of(event, id_)
    above = values.dig(metadata, names.PARENT) or values.dig(event, "feedback", "observation_id")
    parent = _span_of(event, above) if isinstance(above, str) and above else ""
    parent = parent or _known(_SPAN, values.dig(metadata, names.SPAN_ID))
    return SpanIds(trace or _trace_of(event, id_), span, "" if parent == span else parent)


def _span_of(event: Mapping[str, Any], id_: str) -> str:
    """Give the span of an observation of this event's session: within it an id is unique."""
    made = _OF_SPAN.fullmatch(id_)
    session = (values.text(event.get(key)) for key in ("app", "session_id"))
    return made[2] if made else _digest("span", *session, id_)[:16]


def _trace_of(event: Mapping[str, Any], id_: str) -> str:
    """One trace for each turn: a session may last for months."""
    made = _OF_SPAN.fullmatch(id_)
    if made:
        return made[1]
    turn = (values.text(event.get(key)) for key in ("app", "session_id", "interaction_id"))
    return _digest("trace", *turn)[:32]


def _known(form: re.Pattern[str], value: Any) -> str:
    found = value.lower() if isinstance(value, str) and len(value) <= 32 else ""
    return found if form.fullmatch(found) else ""


def _digest(*words: str) -> str:
    made = sha256()
    for word in words:
        made.update(word.encode("utf-8", "surrogatepass") + b"\0")
    return made.hexdigest()
