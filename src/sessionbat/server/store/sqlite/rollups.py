"""Statistics from rollups: figures by hour and by day, added up behind ingestion."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from sessionbat.event import LLM, TOOL
from sessionbat.server.reading.figures import cost_nanos, rfc3339
from sessionbat.server.records import Group, Span, Statistic
from sessionbat.server.store.latency_histogram import (
    NOTHING,
    bucket_of,
    histogram_of,
    merge,
    subtract_from,
    unpack,
    unpack_sum,
)
from sessionbat.server.store.sqlite.progress import advance, progress_of
from sessionbat.server.store.sqlite.recent_rows import RecentRows

_SPANS: Final[dict[Span, int]] = {"hour": 3_600_000_000, "day": 86_400_000_000}

#: span, dimension, app, at_us, value
_Key = tuple[str, str, int, int, str]

# Of one transaction; estimated, not measured, as some 30 ms of rollups.
_MAX_DIFFERENT: Final = 250

#: What of an event is counted: a row of ``COLUMNS``.
Figures = tuple[Any, ...]
COLUMNS: Final = (
    "id, app, min(at_us, received_at_us), kind, name, model, failed, latency_ms, input_tokens,"
    " output_tokens, cost_usd"
)


def follow(connection: sqlite3.Connection, recent: RecentRows[Figures], limit: int) -> bool:
    """Add up to ``limit`` further events, inside the caller's transaction; say if all are in."""
    progress = progress_of(connection, "statistics")
    if progress.following is None:
        return True
    rows = (
        recent.take_from(progress.following, limit)
        or connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",
            (progress.up_to, limit),
        ).fetchall()
    )
    first = _of_bounded_work(rows)
    _write(connection, _add_up(first))
    last = first[-1][0]
    advance(connection, "statistics", last)
    return bool(last == progress.newest)


def _of_bounded_work(rows: Sequence[Figures]) -> Sequence[Figures]:
    """Take as many of the first rows as change few rollups.

    Most events share an hour, a model and a tool with many others; such as are made to have one of
    their own each would cost two reads and two writes or four, in a transaction others wait for.
    """
    different: set[tuple[Any, ...]] = set()
    for place, row in enumerate(rows):
        different.add((row[1], row[2] // _SPANS["hour"], *row[3:6]))
        if len(different) > _MAX_DIFFERENT:
            return rows[:place]
    return rows


def subtract(connection: sqlite3.Connection, rows: Sequence[Figures]) -> None:
    """Take events out that ``follow`` has added; each row is of ``COLUMNS``."""
    for key, total in _add_up(rows).items():
        found = _find(connection, key)
        if found is None:
            continue
        left = _Sum()
        left.add_stored(*found)
        left.subtract(total)
        if left.count > 0:
            connection.execute(_REPLACE, (*key, *left.row()))
        else:
            connection.execute(f"DELETE FROM rollups WHERE {_IS_KEY}", key)


def query(
    connection: sqlite3.Connection,
    *,
    app: str | None,
    by: Span,
    since_us: int,
    until_us: int,
    group: Group | None,
) -> list[Statistic]:
    """Sum the rollups that a question is about; spans in which nothing happened are left out."""
    dimension = group if group in ("model", "tool") else ""
    found: dict[tuple[int, str | None], list[_Rollup]] = {}
    conditions, values = "", list[Any]()
    if app is not None:
        conditions, values = " AND name = ?", [app]
    for name, at_us, value, *figures in connection.execute(
        "SELECT name, at_us, value, count, errors, input_tokens, output_tokens, cost_nanos,"
        " latencies FROM apps CROSS JOIN rollups ON rollups.app = apps.id"
        f" WHERE span = ? AND dimension = ? AND at_us >= ? AND at_us < ?{conditions}",
        (by, dimension, since_us - since_us % _SPANS[by], until_us, *values),
    ):
        label = name if group == "app" else value if group else None
        found.setdefault((at_us, label), []).append(figures)
    keys = sorted(found, key=lambda key: (key[0], key[1] or ""))
    return [_statistic(*key, found[key]) for key in keys]


#: count, errors, input_tokens, output_tokens, cost_nanos, latencies
_Rollup = list[Any]
_PERCENTILES: Final = (0.50, 0.95, 0.99)


def _statistic(at_us: int, label: str | None, rollups: list[_Rollup]) -> Statistic:
    """Give the answer for one span: a month by hour has 744, so each costs microseconds only."""
    if len(rollups) == 1:
        count, errors, input_tokens, output_tokens, cost_nanos, packed = rollups[0]
        packs: tuple[bytes, ...] = (packed,)
    else:
        *figures, packs = zip(*rollups, strict=True)
        count, errors, input_tokens, output_tokens, cost_nanos = map(sum, figures)
    p50, p95, p99 = _percentiles_of(packs)
    return Statistic(
        at=_start(at_us),
        group=label,
        count=count,
        errors=errors,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_nanos / 1e9,
        latency_ms_p50=p50,
        latency_ms_p95=p95,
        latency_ms_p99=p99,
    )


@lru_cache(4096)  # hours that are over stay as they are, and a page asks for them again and again
def _percentiles_of(packs: tuple[bytes, ...]) -> tuple[float | None, ...]:
    return tuple(unpack_sum(packs).percentiles(_PERCENTILES))


@lru_cache(2048)
def _start(at_us: int) -> str:
    return rfc3339(at_us)


class _Sum:
    """Figures of some events on their way into a rollup."""

    __slots__ = (
        "buckets",
        "cost_nanos",
        "count",
        "errors",
        "input_tokens",
        "output_tokens",
        "stored",
    )

    def __init__(self) -> None:
        self.count = self.errors = self.input_tokens = self.output_tokens = self.cost_nanos = 0
        self.buckets: dict[int, int] = {}  # of latencies: those of events
        self.stored = NOTHING  # those of the rollup as it is

    def add(self, other: _Sum) -> None:
        """Add what was summed of events."""
        self._add_figures(
            other.count,
            other.errors,
            other.input_tokens,
            other.output_tokens,
            other.cost_nanos,
        )
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def add_stored(
        self,
        count: int,
        errors: int,
        input_tokens: int,
        output_tokens: int,
        cost_nanos: int,
        latencies: bytes,
    ) -> None:
        """Add a rollup as it is stored."""
        self._add_figures(count, errors, input_tokens, output_tokens, cost_nanos)
        self.stored = merge((self.stored, unpack(latencies)))

    def subtract(self, other: _Sum) -> None:
        """Take away what had been summed of events and is in the rollup."""
        self._add_figures(
            -other.count,
            -other.errors,
            -other.input_tokens,
            -other.output_tokens,
            -other.cost_nanos,
        )
        self.stored = subtract_from(self.stored, histogram_of(other.buckets))

    def row(self) -> tuple[Any, ...]:
        """Give the rollup to store."""
        latencies = merge((self.stored, histogram_of(self.buckets)))
        return (
            self.count,
            self.errors,
            self.input_tokens,
            self.output_tokens,
            self.cost_nanos,
            latencies.pack(),
        )

    def _add_figures(
        self, count: int, errors: int, input_tokens: int, output_tokens: int, cost_nanos: int
    ) -> None:
        self.count += count
        self.errors += errors
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_nanos += cost_nanos


def _add_up(rows: Sequence[Figures]) -> dict[_Key, _Sum]:
    """Sum events by what they have in common, then these sums by each key they count for."""
    sums: dict[_Key, _Sum] = {}
    for (app, hour, kind, name, model), alike in _gather(rows).items():
        for key in _keys(app, hour * _SPANS["hour"], kind, name, model):
            total = sums.get(key)
            if total is None:
                total = sums[key] = _Sum()
            total.add(alike)
    return sums


def _gather(rows: Sequence[Figures]) -> dict[tuple[Any, ...], _Sum]:
    hour_us = _SPANS["hour"]
    gathered: dict[tuple[Any, ...], _Sum] = {}
    for _, app, at_us, kind, name, model, failed, latency_ms, tokens_in, tokens_out, cost in rows:
        key = app, at_us // hour_us, kind, name, model
        alike = gathered.get(key)
        if alike is None:
            alike = gathered[key] = _Sum()
        alike.count += 1
        alike.errors += failed
        alike.input_tokens += tokens_in or 0
        alike.output_tokens += tokens_out or 0
        if cost is not None:
            alike.cost_nanos += cost_nanos(cost)
        if latency_ms is not None:
            bucket = bucket_of(latency_ms)
            alike.buckets[bucket] = alike.buckets.get(bucket, 0) + 1
    return gathered


def _keys(app: int, at_us: int, kind: str, name: str | None, model: str | None) -> Iterator[_Key]:
    for span, length in _SPANS.items():
        start = at_us - at_us % length
        yield span, "", app, start, ""
        if kind == LLM and model:
            yield span, "model", app, start, model
        elif kind == TOOL and name:
            yield span, "tool", app, start, name


def _write(connection: sqlite3.Connection, sums: dict[_Key, _Sum]) -> None:
    for key, total in sums.items():
        found = _find(connection, key)
        if found is not None:
            total.add_stored(*found)
    connection.executemany(_REPLACE, [(*key, *total.row()) for key, total in sums.items()])


_IS_KEY: Final = "span = ? AND dimension = ? AND app = ? AND at_us = ? AND value = ?"
_REPLACE: Final = "INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _find(connection: sqlite3.Connection, key: _Key) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = connection.execute(
        "SELECT count, errors, input_tokens, output_tokens, cost_nanos, latencies FROM rollups"
        f" WHERE {_IS_KEY}",
        key,
    ).fetchone()
    return row
