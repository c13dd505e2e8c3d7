"""Parts into events: what an append does with spans, inside its transaction.

The facts of what has just come are looked at together with those of all that belongs to it: its
trace, and traces that share a key with it. The rules say which become events, and where; what
differs from what is stored is changed, no more of it than one commit takes. So a span that names a
session moves the events of its trace that came before, and of two records of one call one stays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from sessionbat.event import find_problem
from sessionbat.server.reading.figures import Label
from sessionbat.server.reading.usage import Estimate
from sessionbat.server.records import PreparedEvent, ReceivedEvent
from sessionbat.server.store.parts import Event, Place, ReceivedPart, Rules, SpanKey, Told
from sessionbat.server.store.sqlite import span_rows
from sessionbat.server.store.sqlite.append import (
    Prepared,
    app_row,
    insert_events,
    pack_id,
    prepare,
    tally_of,
)
from sessionbat.server.store.sqlite.indexing import Indexing
from sessionbat.server.store.sqlite.known_rows import KnownRows
from sessionbat.server.store.sqlite.many_rows import with_values
from sessionbat.server.store.sqlite.payloads import PayloadWriter
from sessionbat.server.store.sqlite.revision import Revision, TakenOut
from sessionbat.server.store.sqlite.span_group import KnownSpan, SpanGroup

#: Events that one commit takes out, to move or replace them; the others follow in the next.
MAX_REVISED: Final = 250

_WORK: Final = 100
_BYTES_A_MICROSECOND: Final = 50
_NO_EVENT: Final = 30


@dataclass(slots=True)
class PreparedPart(PreparedEvent):
    """A part on its way into the store."""

    part: ReceivedPart
    facts: bytes
    size: int

    @property
    def work(self) -> int:
        """See ``PreparedEvent.work``."""
        return _WORK + self.size // _BYTES_A_MICROSECOND if self.size else _NO_EVENT


def prepare_part(part: ReceivedPart) -> PreparedPart:
    """Write the facts; touches no database."""
    size = 0 if part.event is None else len(orjson.dumps(part.event))
    return PreparedPart(part, part.rules.write(part.facts), size)


class PartPlacing:
    """Takes parts, inside a transaction of the writer.

    Args:
        payloads: Compresses what is stored.
        known: The rows known to be there.
        revision: Takes events out.
        context_keys: As the store was opened with.
        indexing: Told what is put in, and when what it noted is not true any more.
        estimate: As the store was opened with.
    """

    def __init__(
        self,
        payloads: PayloadWriter,
        known: KnownRows,
        revision: Revision,
        context_keys: tuple[str, ...],
        indexing: Indexing,
        estimate: Estimate | None,
    ) -> None:
        self._payloads = payloads
        self._known = known
        self._revision = revision
        self._context_keys = context_keys
        self._indexing = indexing
        self._estimate = estimate

    def take_all(self, connection: sqlite3.Connection, parts: Sequence[PreparedPart]) -> list[bool]:
        """Take parts of any apps, inside a transaction in which foreign keys are off.

        Returns:
            For each: whether it said anything that was not known.
        """
        by_app: dict[tuple[str, int], list[PreparedPart]] = {}
        for each in parts:
            by_app.setdefault((each.part.app, id(each.part.rules)), []).append(each)
        told: dict[int, bool] = {}
        for (app, _), those in by_app.items():
            known = app_row(connection, self._known, app), app
            is_new = self._take(connection, those[0].part.rules, known, those)
            told.update(zip(map(id, those), is_new, strict=True))
        return [told[id(each)] for each in parts]

    def settle_some(self, connection: sqlite3.Connection, rules: Rules) -> bool:
        """Move some events of a trace that are not where they belong; False when none is left."""
        found = span_rows.unsettled(connection)
        if found is None:
            return False
        app, trace = found
        self._take(connection, rules, (app_row(connection, self._known, app), app), (), (trace,))
        return True

    def _take(
        self,
        connection: sqlite3.Connection,
        rules: Rules,
        app: tuple[int, str],
        prepared: Sequence[PreparedPart],
        traces: Iterable[str] = (),
    ) -> list[bool]:
        """Take parts of one app, and settle traces of it.

        Args:
            connection: In a transaction.
            rules: What places them.
            app: Its number and name.
            prepared: What has come; may be nothing.
            traces: Settled too, though nothing of them has come.
        """
        own = {*traces, *(each.part.key.trace for each in prepared)}
        group = SpanGroup(connection, rules, app[0])
        group.load_traces(own)
        group.load_old([each.part.key for each in prepared])
        is_new = self._add(connection, rules, app[0], prepared, group)
        group.load_shared(own)
        places = rules.place({key: span.facts for key, span in group.spans.items()})
        changes = _Changes.of(group.wholly_known(), places, rules)
        self._apply(connection, app, changes, group)
        group.write()
        unsettled = {span.key.trace for span in changes.left}
        span_rows.set_unsettled(connection, app[0], unsettled, is_settled=False)
        span_rows.set_unsettled(connection, app[0], own - unsettled, is_settled=True)
        return is_new

    def _add(
        self,
        connection: sqlite3.Connection,
        rules: Rules,
        app: int,
        prepared: Sequence[PreparedPart],
        group: SpanGroup,
    ) -> list[bool]:
        """Add what has come; say of each whether it told anything new."""
        fresh = [each.part for each in prepared if each.part.key not in group.spans]
        stored = _stored_ids(connection, app, [part.event for part in fresh if part.event])
        is_new = []
        for each in prepared:
            part = each.part
            span = group.spans.get(part.key)
            if span is None:
                is_there = part.event is not None and _key_of(part.event) in stored
                content = None if is_there else part.event
                span = KnownSpan.of_part(part, each.facts, content)
                group.spans[part.key] = span
                is_new.append(not is_there)
            else:
                is_new.append(self._join(connection, rules, span, part))
        return is_new

    def _join(
        self, connection: sqlite3.Connection, rules: Rules, span: KnownSpan, part: ReceivedPart
    ) -> bool:
        before = self._content_of(connection, span)
        told = rules.join(span.key, Told(span.facts, before), Told(part.facts, part.event))
        has_new_content = _bare(rules, told.event) != _bare(rules, before)
        if told.facts == span.facts and not has_new_content:
            return False
        span.facts, span.content = told.facts, told.event
        span.written = rules.write(told.facts)
        span.has_new_content |= has_new_content
        span.is_changed = True
        span.arrived_at_us = part.received_at_us
        return True

    def _content_of(self, connection: sqlite3.Connection, span: KnownSpan) -> Event | None:
        if span.content is None and span.event is not None:
            found = self._revision.read(connection, [span.event]).get(span.event)
            span.content = None if found is None else found.event
        elif span.content is None:
            span.take_held()
        return span.content

    def _apply(
        self,
        connection: sqlite3.Connection,
        app: tuple[int, str],
        changes: _Changes,
        group: SpanGroup,
    ) -> None:
        """Take out what is no event any more or goes elsewhere, then put in what is to be there."""
        numbers = [span.event for span in changes.out if span.event is not None]
        taken = self._revision.read(connection, numbers)
        spans, received = list[KnownSpan](), list[ReceivedEvent]()
        for span, place, fingerprint in changes.into:
            event = self._placed(connection, app[1], span, place, taken)
            span.place, span.is_changed = fingerprint, True
            if event is not None:
                spans.append(span)
                received.append(event)
            elif span.content is not None:
                span.hold(group)  # not lost; nothing that can be shown
        events = prepare(received, self._payloads, self._context_keys, self._estimate)
        for span in changes.held:
            old = None if span.event is None else taken.get(span.event)
            if span.content is None and old is not None:
                span.content = old.event
            span.hold(group)
            span.place = None
            span.is_changed = True
        if taken:
            self._revision.take_out(
                connection, [*taken.values()], self._coming(connection, app[0], events)
            )
            self._known.forget()
            self._indexing.forget()
        for span in changes.out:
            span.event = None
        self._known.trim()
        inserted = insert_events(connection, events, tally_of(events), self._payloads, self._known)
        rows = iter(inserted.rows)
        for span, is_new in zip(spans, inserted.is_new, strict=True):
            # Where it was there already, it came by another way, too, and is not this span's.
            span.event = next(rows).id if is_new else None
            span.held = None
        self._indexing.note(inserted)

    def _placed(
        self,
        connection: sqlite3.Connection,
        app: str,
        span: KnownSpan,
        place: Place,
        taken: Mapping[int, TakenOut],
    ) -> ReceivedEvent | None:
        """Give the event of a span at its place; None when there is nothing to make it of."""
        old = None if span.event is None else taken.get(span.event)
        received_at_us = span.received_at_us if old is None else old.row.received_at_us
        if span.content is None and old is not None:
            span.content = old.event
        content = self._content_of(connection, span)
        if content is None:
            return None
        event = place.apply(content)
        event["app"] = app
        if find_problem(event) is not None:
            return None
        return ReceivedEvent(orjson.dumps(event), event, received_at_us)

    def _coming(
        self, connection: sqlite3.Connection, app: int, events: Sequence[Prepared]
    ) -> dict[int, set[Label]]:
        """Say which labels sessions that are there will be given."""
        labels: dict[str, set[Label]] = {}
        for each in events:
            coming = labels.setdefault(each.figures.session_id, set())
            coming |= each.figures.own_labels | each.figures.shared_labels
        found = with_values(
            connection,
            "SELECT id, session_id FROM {} CROSS JOIN sessions"
            " ON app = column1 AND session_id = column2",
            [(app, session_id) for session_id in labels],
        )
        return {number: labels[session_id] for number, session_id in found}


@dataclass(slots=True)
class _Changes:
    """What is to be done so that events are where the rules say."""

    #: Spans whose event is taken out; spans put in with their place; and those that become none.
    out: list[KnownSpan] = field(default_factory=list)
    into: list[tuple[KnownSpan, Place, bytes]] = field(default_factory=list)
    held: list[KnownSpan] = field(default_factory=list)
    #: Left for the next transaction.
    left: list[KnownSpan] = field(default_factory=list)

    @classmethod
    def of(
        cls, spans: Sequence[KnownSpan], places: Mapping[SpanKey, Place], rules: Rules
    ) -> _Changes:
        changes = cls()
        for span in spans:
            place = places.get(span.key)
            fingerprint = None if place is None else rules.fingerprint(place)
            if fingerprint == span.place and not span.has_new_content:
                continue
            # What has just come is never left: it is in no row yet.
            if len(changes.out) >= MAX_REVISED and not span.has_new_content:
                changes.left.append(span)
                continue
            if span.event is not None:
                changes.out.append(span)
            if place is None or fingerprint is None:
                changes.held.append(span)
            else:
                changes.into.append((span, place, fingerprint))
        return changes


def _bare(rules: Rules, event: Event | None) -> Event | None:
    return None if event is None else rules.unplaced(event)


def _key_of(event: Event) -> tuple[str | bytes, str]:
    """Name an event by its id and the session that it came with; most spans' have none yet."""
    return pack_id(event["id"]), event["session_id"]


def _stored_ids(
    connection: sqlite3.Connection, app: int, events: Sequence[Event]
) -> set[tuple[str | bytes, str]]:
    """Find which of these events are stored, whatever came of them being spans.

    An id is unique within its session; without a session, one that is stored in any.
    """
    found = with_values(
        connection,
        "SELECT event_id, session_id FROM {} CROSS JOIN events ON event_id = column1"
        " AND events.app = column2 JOIN sessions ON sessions.id = events.session",
        [(pack_id(event["id"]), app) for event in events],
    )
    return {key for packed, session_id in found for key in ((packed, session_id), (packed, ""))}
