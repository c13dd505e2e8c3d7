"""Parts on their way into the store, and the decoded body that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sessionbat._otel.parts import Part
from sessionbat.server.ingest.body import Body, Decoded, Rejected, inflate
from sessionbat.server.ingest.otlp.limits import Unreadable
from sessionbat.server.ingest.otlp.parts import NO_APP, received_part
from sessionbat.server.ingest.value_limits import MAX_VALUES, count_roughly, holds_more_than
from sessionbat.server.reading.json_values import MAX_EVENT_VALUES
from sessionbat.server.settings import Settings
from sessionbat.server.web.refusal import Refused


class Taking:
    """Collects the parts of one body; what is wrong with one concerns that one only.

    Args:
        text: The body after decompression.
        app: The only app that may be written to; None where the sender names it.
        received_at_us: When it was received, in microseconds since 1970.
        is_single: Whether the body is of one.
    """

    def __init__(
        self, text: bytes, app: str | None, received_at_us: int, *, is_single: bool = False
    ) -> None:
        values = min(count_roughly(text), MAX_VALUES)
        self.decoded = Decoded([], [], len(text), values, is_single)
        self._app = app
        self._received_at_us = received_at_us

    def take(self, at: str, parts: Sequence[Part] | None, app: str | None = None) -> None:
        """Add the parts of one; None stands for one that cannot be read."""
        if parts is None:
            self.reject(at, "bad-event", "it has no id, or is of no known type; see the docs")
            return
        at_us = self._received_at_us
        try:
            received = [
                received_part(part, self._app or app or _app_of(part) or NO_APP, at_us)
                for part in parts
            ]
        except Unreadable as exc:
            self.reject(at, exc.slug, exc.message)
            return
        self.decoded.events.extend(received)

    def reject(self, at: str, slug: str, message: str) -> None:
        """Note one that is not stored."""
        self.decoded.rejected.append(Rejected(None, slug, at, message))

    def take_text(self, at: str, text: bytes, read: Callable[[Any], None]) -> None:
        """Read one that is a JSON text of its own."""
        try:
            read(json_of(text, MAX_EVENT_VALUES))
        except Refused as refused:
            self.reject(at, refused.slug, refused.message)


def begin(
    body: Body, settings: Settings, received_at_us: int, *, is_single: bool = False
) -> tuple[bytes, Taking]:
    """Decompress a body; give it with what collects its parts.

    Raises:
        Refused: It cannot be decompressed (400), or is too large (413).
    """
    text = inflate(body.data, body.encoding, settings.max_body_bytes)
    return text, Taking(text, body.app, received_at_us, is_single=is_single)


def check_count(count: int, settings: Settings, what: str) -> None:
    """Refuse a body of more runs, events or scores than one may hold.

    Raises:
        Refused: There are more (413).
    """
    most = settings.max_body_events
    if count > most:
        raise Refused(413, "too-many-events", f"more than {most} {what} in a body; send less")


def json_of(text: bytes, most: int = MAX_VALUES) -> Any:
    """Decode JSON.

    Raises:
        Refused: It is none (400), or has more values than may be (413).
    """
    if holds_more_than(most, text):
        raise Refused(413, "too-many-values", f"more than {most} values; send less at once")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise Refused(400, "not-json", f"not JSON: {exc}") from exc


def _app_of(part: Part) -> str | None:
    return part.event.get("app") or None if part.event is not None else None
