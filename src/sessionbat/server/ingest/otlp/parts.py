"""Spans and log records become parts of events; the rules by which a store places them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

import orjson

from sessionbat._otel import names, values
from sessionbat._otel.envelopes import app_of
from sessionbat._otel.joining import join
from sessionbat._otel.mapping import map_log, map_span
from sessionbat._otel.model import LogRecord, Span
from sessionbat._otel.model import SpanKey as OtelKey
from sessionbat._otel.parts import Event, Facts, Part, Place, unplaced
from sessionbat._otel.placing import place
from sessionbat.event import find_problem
from sessionbat.server.ingest.otlp.limits import Unreadable
from sessionbat.server.store.parts import ReceivedPart, SpanKey, Told

#: The app of spans whose key writes to every app, and that name no service.
NO_APP = "unknown_service"


class OtelRules:
    """The mapper's rules, as a store asks them; see ``Rules``."""

    def read(self, data: bytes) -> Facts:
        """See ``Rules.read``."""
        return Facts.from_json(data)

    def write(self, facts: Any) -> bytes:
        """See ``Rules.write``."""
        try:
            return orjson.dumps(facts.said())
        except TypeError:  # half of a surrogate pair, which some sender's JSON may hold
            written: bytes = facts.to_json()
            return written

    def join(self, key: SpanKey, earlier: Told, later: Told) -> Told:
        """See ``Rules.join``."""
        named = OtelKey(*key)
        joined = join(
            Part(named, earlier.facts, earlier.event), Part(named, later.facts, later.event)
        )
        return Told(joined.facts, joined.event)

    def place(self, parts: Mapping[SpanKey, Any]) -> Mapping[SpanKey, Place]:
        """See ``Rules.place``."""
        # Keys of either kind are the same pair.
        placed: Mapping[Any, Place] = place(cast("Mapping[OtelKey, Facts]", parts))
        return placed

    def unplaced(self, event: Event) -> Event:
        """See ``Rules.unplaced``."""
        return unplaced(event)

    def fingerprint(self, place: Any) -> bytes:
        """See ``Rules.fingerprint``."""
        return blake2b(repr(place).encode("utf-8", "surrogatepass"), digest_size=12).digest()


RULES = OtelRules()


def parts_of(item: Span | LogRecord, app: str | None, received_at_us: int) -> list[ReceivedPart]:
    """Map a span or log record to parts of an app, or of the app that it names.

    Raises:
        Unreadable: It is for another app, or no event can be made of it.
    """
    named = values.name(item.attributes.get(names.APP))
    if app is not None and named is not None and named != app:
        raise Unreadable("wrong-app", f"this key writes to {app!r} only; use a key of its app")
    mapped = map_span(item) if isinstance(item, Span) else map_log(item)
    own = app or app_of(item.scope, item.attributes) or NO_APP
    return [
        received_part(part, own, received_at_us, is_checked=_is_made_here(part.facts))
        for part in mapped
    ]


def received_part(
    part: Part, app: str, received_at_us: int, *, is_checked: bool = False
) -> ReceivedPart:
    """Give a part as the store takes it.

    Args:
        part: As mapped.
        app: Where it belongs.
        received_at_us: When it was received, in microseconds since 1970.
        is_checked: Whether its event is known to be one.

    Raises:
        Unreadable: Its event breaks a rule of events.
    """
    event = part.event
    if event is not None and not is_checked:
        problem = find_problem({**event, "app": app, "session_id": "-"})
        if problem is not None:
            raise Unreadable("bad-event", f"{problem.at}: {problem.message}")
    return ReceivedPart(app, SpanKey(*part.key), part.facts, event, received_at_us, RULES)


def _is_made_here(facts: Facts) -> bool:
    """Whether the mapper made all of an event but its content, so that it surely is one."""
    return facts.event_id is None and facts.run is None and facts.kind != "feedback"
