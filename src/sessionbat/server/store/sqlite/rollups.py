"""Statistics: figures by hour and day, summed into rollups behind ingestion."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sessionbat.event import FEEDBACK, LLM, TOOL
from sessionbat.server.reading.figures import active_at, cost_nanos, microseconds, rfc3339
from sessionbat.server.records import Span, Statistic
from sessionbat.server.store.latency_histogram import (
    NOTHING,
    bucket_of,
    histogram_of,
    merge,
    subtract_from,
    unpack,
    unpack_sum,
)
from sessionbat.server.store.questions import StatisticsQuery
from sessionbat.server.store.sqlite.append import Inserted
from sessionbat.server.store.sqlite.connections import Reader, Readers
from sessionbat.server.store.sqlite.event_rows import EVENT_COLUMNS, EventRow
from sessionbat.server.store.sqlite.many_rows import columns, places_of
from sessionbat.server.store.sqlite.progress import advance, progress_of
from sessionbat.server.store.sqlite.recent_rows import RecentRows

_SPANS: Final[dict[Span, int]] = {"hour": 3_600_000_000, "day": 86_400_000_000}


class _Key(NamedTuple):
    span: Span
    dimension: str
    app: int
    at_us: int
    value: str


class _Rollup(NamedTuple):
    count: int  # type: ignore[assignment]  # hides the method of tuples
    errors: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    estimated_nanos: int
    latencies: bytes


class _Alike(NamedTuple):
    """The common values of events that are added to the same rollups."""

    app: int
    hour: int
    kind: str
    name: str | None
    model: str | None


# Of one transaction; estimated, not measured, as some 30 ms of rollups.
_MAX_DIFFERENT: Final = 250


class Statistics:
    """The rollups as derived data; see ``Derived``."""

    name: Final = "statistics"
    is_followed: Final = True
    #: Most of the work is to read and write a rollup, however many events it is for.
    steps_at_once: Final = 16

    def __init__(self) -> None:
        self._recent = RecentRows[EventRow]()

    def create(self, connection: sqlite3.Connection) -> None:
        """Do nothing: the schema creates the table."""

    def note(self, inserted: Inserted) -> None:
        """Keep rows that were just stored."""
        self._recent.add(inserted.rows)

    def forget(self) -> None:
        """Drop the kept rows and read from disk."""
        self._recent.forget()

    def read_ahead(self, readers: Readers, limit: int) -> None:
        """Do nothing: reading rows is quick."""

    def follow(self, connection: sqlite3.Connection, limit: int) -> bool:
        """Add further events; see ``Derived.follow``."""
        progress = progress_of(connection, self.name)
        if progress.following is None:
            return True
        rows = self._recent.take_from(progress.following, limit) or [
            EventRow._make(row)
            for row in connection.execute(
                f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",
                (progress.up_to, limit),
            )
        ]
        gathered = _gather(rows, _MAX_DIFFERENT)
        _write(connection, _add_up(gathered.sums))
        last = rows[gathered.taken - 1].id
        advance(connection, self.name, last)
        return last == progress.newest

    def weigh(self, reader: Reader, event: EventRow) -> int:
        """Return 0: a step has few events, and most share their rollups."""
        return 0

    def subtract(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Subtract events; a rollup without events is deleted."""
        for key, total in _add_up(_gather(events, len(events)).sums).items():
            found = _find(connection, key)
            if found is None:
                continue
            left = _Sum()
            left.add_stored(found)
            left.subtract(total)
            if left.count > 0:
                connection.execute(_REPLACE, (*key, *left.rollup()))
            else:
                connection.execute(f"DELETE FROM rollups WHERE {_IS_KEY}", key)

    def restore(self, connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
        """Add up events again; see ``Derived.restore``."""
        _write(connection, _add_up(_gather(events, len(events)).sums))

    def empty(self, connection: sqlite3.Connection) -> None:
        """Delete all rollups."""
        connection.execute("DELETE FROM rollups")


def sum_up(reader: Reader, query: StatisticsQuery) -> list[Statistic]:
    """Sum the rollups of a query; hours or days without events are omitted."""
    by, group = query.by, query.group
    since_us, until_us = microseconds(query.since), microseconds(query.until)
    dimension = group if group in ("model", "tool") else ""
    found: dict[tuple[int, str | None], list[_Rollup]] = {}
    conditions, values = "", list[Any]()
    if query.app is not None:
        conditions, values = " AND name = ?", [query.app]
    for name, at_us, value, *figures in reader.connection.execute(
        f"SELECT name, at_us, value, {columns(_Rollup)}"
        " FROM apps CROSS JOIN rollups ON rollups.app = apps.id"
        f" WHERE span = ? AND dimension = ? AND at_us >= ? AND at_us < ?{conditions}",
        (by, dimension, since_us - since_us % _SPANS[by], until_us, *values),
    ):
        label = name if group == "app" else value if group else None
        found.setdefault((at_us, label), []).append(_Rollup._make(figures))
    return [
        _statistic(at_us, label, found[at_us, label])
        for at_us, label in sorted(found, key=_in_order)
    ]


def _in_order(span: tuple[int, str | None]) -> tuple[int, str]:
    at_us, label = span
    return at_us, label or ""


_PERCENTILES: Final = (0.50, 0.95, 0.99)


def _statistic(at_us: int, label: str | None, rollups: list[_Rollup]) -> Statistic:
    """Make the answer for one span; takes microseconds, since a month by hour has 744."""
    total = rollups[0] if len(rollups) == 1 else _summed(rollups)
    p50, p95, p99 = _percentiles_of(tuple(each.latencies for each in rollups))
    return Statistic(
        at=_start(at_us),
        group=label,
        count=total.count,
        errors=total.errors,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        cost_usd=total.cost_nanos / 1e9,
        cost_estimated=total.estimated_nanos / 1e9,
        latency_ms_p50=p50,
        latency_ms_p95=p95,
        latency_ms_p99=p99,
    )


def _summed(rollups: Iterable[_Rollup]) -> _Sum:
    total = _Sum()
    for each in rollups:
        total.add_figures(each)
    return total


@lru_cache(4096)  # hours that are over stay as they are, and a page asks for them again and again
def _percentiles_of(packs: tuple[bytes, ...]) -> tuple[float | None, ...]:
    return tuple(unpack_sum(packs).percentiles(_PERCENTILES))


@lru_cache(2048)
def _start(at_us: int) -> str:
    return rfc3339(at_us)


class _Sum:
    """The sums of some events, to be added to a rollup."""

    __slots__ = (
        "buckets",
        "cost_nanos",
        "count",
        "errors",
        "estimated_nanos",
        "input_tokens",
        "output_tokens",
        "stored",
    )

    def __init__(self) -> None:
        self.count = self.errors = self.input_tokens = self.output_tokens = 0
        self.cost_nanos = self.estimated_nanos = 0
        self.buckets: dict[int, int] = {}  # of latencies: those of events
        self.stored = NOTHING  # those of the rollup as it is

    def add_event(self, row: EventRow) -> None:
        """Add an event."""
        cost_usd, latency_ms = row.cost_usd, row.latency_ms
        self.count += 1
        self.errors += row.failed
        self.input_tokens += row.input_tokens or 0
        self.output_tokens += row.output_tokens or 0
        if cost_usd is not None:
            self.cost_nanos += cost_nanos(cost_usd)
        elif row.estimated_usd is not None:
            self.estimated_nanos += cost_nanos(row.estimated_usd)
        if latency_ms is not None:
            bucket = bucket_of(latency_ms)
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def add(self, other: _Sum) -> None:
        """Add the sums of other events."""
        self.add_figures(other)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def add_stored(self, rollup: _Rollup) -> None:
        """Add a stored rollup."""
        self.add_figures(rollup)
        self.stored = merge((self.stored, unpack(rollup.latencies)))

    def subtract(self, other: _Sum) -> None:
        """Subtract sums that were added to the rollup before."""
        self.add_figures(other, -1)
        self.stored = subtract_from(self.stored, histogram_of(other.buckets))

    def rollup(self) -> _Rollup:
        """Make the rollup to store."""
        return _Rollup(
            count=self.count,
            errors=self.errors,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_nanos=self.cost_nanos,
            estimated_nanos=self.estimated_nanos,
            latencies=merge((self.stored, histogram_of(self.buckets))).pack(),
        )

    def add_figures(self, other: _Sum | _Rollup, times: int = 1) -> None:
        """Add (or with -1 subtract) all figures but the latencies."""
        self.count += times * other.count
        self.errors += times * other.errors
        self.input_tokens += times * other.input_tokens
        self.output_tokens += times * other.output_tokens
        self.cost_nanos += times * other.cost_nanos
        self.estimated_nanos += times * other.estimated_nanos


class _Gathered(NamedTuple):
    sums: dict[_Alike, _Sum]
    #: The number of events summed, from the first on.
    taken: int


def _gather(rows: Sequence[EventRow], most: int) -> _Gathered:
    """Sum events by their common values, up to a number of different sums.

    Most events share an hour, a model and a tool with many others. Events crafted to share nothing
    would each cost two or four reads and as many writes, in a transaction that others wait for.
    """
    hour_us = _SPANS["hour"]
    sums: dict[tuple[Any, ...], _Sum] = {}
    taken = len(rows)
    for place, row in enumerate(rows):
        kind = row.kind
        if kind == FEEDBACK:  # no observation
            continue
        hour = active_at(row.at_us, row.received_at_us) // hour_us
        key = row.app, hour, kind, row.name, row.model  # named below: a third of the price
        alike = sums.get(key)
        if alike is None:
            if len(sums) == most:
                taken = place
                break
            alike = sums[key] = _Sum()
        alike.add_event(row)
    return _Gathered({_Alike._make(key): alike for key, alike in sums.items()}, taken)


def _add_up(gathered: Mapping[_Alike, _Sum]) -> dict[_Key, _Sum]:
    """Add up sums for each rollup key that they count for."""
    sums: dict[_Key, _Sum] = {}
    for common, alike in gathered.items():
        for key in _keys(common):
            total = sums.get(key)
            if total is None:
                total = sums[key] = _Sum()
            total.add(alike)
    return sums


def _keys(common: _Alike) -> Iterator[_Key]:
    at_us, app = common.hour * _SPANS["hour"], common.app
    for span, length in _SPANS.items():
        start = at_us - at_us % length
        yield _Key(span, "", app, start, "")
        if common.kind == LLM and common.model:
            yield _Key(span, "model", app, start, common.model)
        elif common.kind == TOOL and common.name:
            yield _Key(span, "tool", app, start, common.name)


def _write(connection: sqlite3.Connection, sums: dict[_Key, _Sum]) -> None:
    for key, total in sums.items():
        found = _find(connection, key)
        if found is not None:
            total.add_stored(found)
    rows = [(*key, *total.rollup()) for key, total in sums.items()]
    connection.executemany(_REPLACE, rows)


_IS_KEY: Final = f"({columns(_Key)}) = {places_of(_Key)}"
_REPLACE: Final = (
    f"INSERT OR REPLACE INTO rollups ({columns(_Key)}, {columns(_Rollup)})"
    f" VALUES ({', '.join('?' * (len(_Key._fields) + len(_Rollup._fields)))})"
)


def _find(connection: sqlite3.Connection, key: _Key) -> _Rollup | None:
    row = connection.execute(
        f"SELECT {columns(_Rollup)} FROM rollups WHERE {_IS_KEY}", key
    ).fetchone()
    return None if row is None else _Rollup._make(row)
