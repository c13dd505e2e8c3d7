"""The spans that are looked at together: those of a trace, and of traces that share a key with it.

Loaded at the beginning of an append, changed by it, and written at its end.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import zstandard

from sessionbat.server.store.parts import Event, Facts, ReceivedPart, Rules, SpanKey
from sessionbat.server.store.sqlite import span_rows
from sessionbat.server.store.sqlite.span_rows import MAX_SPANS_OF_TRACE, SpanRow

#: Traces that share a key with what has come: so many are looked at together.
MAX_TRACES_TOGETHER: Final = 32


@dataclass(slots=True)
class KnownSpan:
    """A span as it is known: its row, and what has come."""

    key: SpanKey
    facts: Any
    written: bytes
    received_at_us: int
    row: SpanRow | None = None
    #: What it says, where that has come now or is held.
    content: Event | None = None
    is_changed: bool = False
    has_new_content: bool = False
    arrived_at_us: int = 0
    #: What becomes of it: the event's number, the place it has, what is held.
    event: int | None = None
    place: bytes | None = None
    held: bytes | None = None

    @classmethod
    def of_part(cls, part: ReceivedPart, facts: bytes, content: Event | None) -> KnownSpan:
        """Make one of a part whose key is new."""
        return cls(
            part.key,
            part.facts,
            facts,
            part.received_at_us,
            content=content,
            is_changed=True,
            has_new_content=content is not None,
            arrived_at_us=part.received_at_us,
        )

    def hold(self, group: SpanGroup) -> None:
        """Keep what it says beside its row, as long as no event says it."""
        self.held = None if self.content is None else group.pack(self.content)

    def take_held(self) -> None:
        """Read what is held of it, if anything is."""
        if self.held is not None:
            self.content = _unpack(self.held)


class SpanGroup:
    """Spans of one app, in a transaction.

    Args:
        connection: In a transaction.
        rules: Read the facts.
        app: The number of the app.
    """

    def __init__(self, connection: sqlite3.Connection, rules: Rules, app: int) -> None:
        self.spans: dict[SpanKey, KnownSpan] = {}
        self._connection = connection
        self._rules = rules
        self._app = app
        # One for all: to make one costs as much as to compress with it.
        self._compressor = zstandard.ZstdCompressor(level=3)
        #: By each: whether its spans, and all that share a key with them, are loaded.
        self._traces: dict[str, bool] = {}

    def load_traces(self, traces: Collection[str], *, are_whole: bool = True) -> None:
        """Load the newest spans of traces.

        Args:
            traces: Their ids.
            are_whole: Whether all that shares a key with them will be loaded, too.
        """
        self._traces.update(dict.fromkeys(traces, are_whole))
        for row in span_rows.of_traces(self._connection, self._app, traces):
            if row.key not in self.spans:
                self.spans[row.key] = self._of_row(row)

    def load_old(self, keys: Sequence[SpanKey]) -> None:
        """Load what has come again of a trace so long that it was not among the newest."""
        spans_of = Counter(key.trace for key in self.spans)
        full = {trace for trace, spans in spans_of.items() if spans >= MAX_SPANS_OF_TRACE}
        if not full:
            return
        missing = [key for key in keys if key.trace in full and key not in self.spans]
        for row in span_rows.of_keys(self._connection, self._app, missing):
            self.spans[row.key] = self._of_row(row)

    def load_shared(self, own: set[str]) -> None:
        """Load the traces that share a key with these, and those that share one with them."""
        asked: set[str] = set()
        frontier = own
        while frontier and (keys := self._keys_of(frontier) - asked):
            asked |= keys
            found = span_rows.traces_that_share(self._connection, self._app, keys)
            found -= self._traces.keys()
            room = MAX_TRACES_TOGETHER - (len(self._traces) - len(own))
            if len(found) > room or len(self.spans) >= MAX_SPANS_OF_TRACE + len(own):
                # Not all is known of what led here: it is looked at, and stays as it is.
                self._traces.update(dict.fromkeys(frontier - own, False))
                self.load_traces(sorted(found)[: max(0, room)], are_whole=False)
                return
            self.load_traces(found)
            frontier = found

    def wholly_known(self) -> list[KnownSpan]:
        """Give the spans of the traces of which everything is loaded: only these may change."""
        return [span for span in self.spans.values() if self._traces[span.key.trace]]

    def write(self) -> None:
        """Write the spans that changed."""
        number = span_rows.last_number(self._connection)
        new, old = list[SpanRow](), list[SpanRow]()
        joins = list[tuple[int, tuple[str, ...], int]]()
        for span in self.spans.values():
            if not span.is_changed:
                continue
            if span.row is None:
                number += 1
            row = _row_of(span, self._app, number if span.row is None else span.row.id)
            (new if span.row is None else old).append(row)
            joins.append((self._app, span.facts.joins, row.id))
        span_rows.insert(self._connection, new)
        span_rows.update(self._connection, old)
        span_rows.insert_joins(self._connection, joins)

    def pack(self, content: Event) -> bytes:
        """Write what a span says as ``take_held`` reads it."""
        return self._compressor.compress(orjson.dumps(content))

    def _keys_of(self, traces: set[str]) -> set[str]:
        return {
            key
            for span in self.spans.values()
            if span.key.trace in traces
            for key in span.facts.joins
        }

    def _of_row(self, row: SpanRow) -> KnownSpan:
        return KnownSpan(
            row.key,
            self._rules.read(row.facts),
            row.facts,
            row.received_at_us,
            row=row,
            arrived_at_us=row.arrived_at_us,
            event=row.event,
            place=row.place,
            held=row.held,
        )


def _row_of(span: KnownSpan, app: int, number: int) -> SpanRow:
    facts: Facts = span.facts
    return SpanRow(
        id=number,
        app=app,
        trace=span_rows.pack_trace(span.key.trace),
        span=span.key.span,
        received_at_us=span.received_at_us,
        arrived_at_us=span.arrived_at_us,
        facts=span.written,
        event=span.event,
        place=span.place,
        names_session=None if span.held is None else facts.session,
        held=span.held,
    )


def _unpack(held: bytes) -> Event:
    content: Event = orjson.loads(zstandard.ZstdDecompressor().decompress(held))
    return content
