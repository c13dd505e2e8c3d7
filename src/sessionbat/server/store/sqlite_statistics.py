"""Statistics from rollups: figures by hour and by day, added up behind ingestion."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from sessionbat.event import LLM, TOOL
from sessionbat.server.records import Group, Span, Statistic
from sessionbat.server.store.histogram import bucket_of, percentiles
from sessionbat.server.store.reading import cost_nanos, rfc3339

_SPANS: Final[dict[Span, int]] = {"hour": 3_600_000_000, "day": 86_400_000_000}

#: span, dimension, app, at_us, value
_Key = tuple[str, str, int, int, str]


def follow(connection: sqlite3.Connection, limit: int) -> bool:
    """Add up to ``limit`` further events, inside the caller's transaction; say if all are in."""
    (up_to,) = connection.execute("SELECT up_to FROM progress WHERE name = 'statistics'").fetchone()
    rows = connection.execute(
        "SELECT id, app, at_us, kind, name, model, failed, latency_ms, input_tokens, output_tokens,"
        " cost_usd FROM events WHERE id > ? ORDER BY id LIMIT ?",
        (up_to, limit),
    ).fetchall()
    if rows:
        _write(connection, _add_up(rows))
        connection.execute(
            "UPDATE progress SET up_to = ? WHERE name = 'statistics'", (rows[-1][0],)
        )
    return len(rows) < limit


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
    sums: dict[tuple[int, str | None], _Sum] = {}
    conditions, values = "", list[Any]()
    if app is not None:
        conditions, values = " AND name = ?", [app]
    for name, at_us, value, *figures in connection.execute(
        "SELECT name, at_us, value, count, errors, input_tokens, output_tokens, cost_nanos,"
        " latencies FROM apps CROSS JOIN rollups ON rollups.app = apps.id"
        f" WHERE span = ? AND dimension = ? AND at_us >= ? AND at_us < ?{conditions}",
        (by, dimension, since_us - since_us % _SPANS[by], until_us, *values),
    ):
        label = {"app": name, "model": value, "tool": value}.get(group or "")
        sums.setdefault((at_us, label), _Sum()).add(*figures)
    return [
        sums[key].statistic(*key) for key in sorted(sums, key=lambda key: (key[0], key[1] or ""))
    ]


@dataclass(slots=True)
class _Sum:
    count: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    stored: str | None = None  # the latencies of one rollup, as long as there is only one

    def add(
        self,
        count: int,
        errors: int,
        input_tokens: int,
        output_tokens: int,
        cost: int,
        latencies: str,
    ) -> None:
        """Add a rollup as it is stored."""
        self.count += count
        self.errors += errors
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_nanos += cost
        if self.stored is None and not self.latencies:
            self.stored = latencies
        else:
            self._add_stored(latencies)

    def pairs(self) -> list[int]:
        """Give the latencies: bucket, count, bucket, count, …, ascending."""
        if self.stored is not None and not self.latencies:
            pairs: list[int] = orjson.loads(self.stored)
            return pairs
        return [n for pair in sorted(self.latencies.items()) for n in pair]

    def _add_stored(self, latencies: str) -> None:
        for text in (self.stored, latencies):
            pairs = orjson.loads(text) if text else []
            for bucket, n in zip(pairs[::2], pairs[1::2], strict=True):
                self.latencies[bucket] += n
        self.stored = None

    def row(self) -> tuple[Any, ...]:
        """Give the rollup to store."""
        return (
            self.count,
            self.errors,
            self.input_tokens,
            self.output_tokens,
            self.cost_nanos,
            orjson.dumps(self.pairs()).decode(),
        )

    def statistic(self, at_us: int, label: str | None) -> Statistic:
        """Give the answer for one span."""
        p50, p95, p99 = percentiles(self.pairs(), (0.50, 0.95, 0.99))
        return Statistic(
            at=rfc3339(at_us),
            group=label,
            count=self.count,
            errors=self.errors,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.cost_nanos / 1e9,
            latency_ms_p50=p50,
            latency_ms_p95=p95,
            latency_ms_p99=p99,
        )


def _add_up(rows: list[tuple[Any, ...]]) -> dict[_Key, _Sum]:
    sums: dict[_Key, _Sum] = {}
    for _, app, at_us, kind, name, model, failed, latency_ms, tokens_in, tokens_out, cost in rows:
        for key in _keys(app, at_us, kind, name, model):
            total = sums.get(key)
            if total is None:
                total = sums[key] = _Sum()
            total.count += 1
            total.errors += failed
            total.input_tokens += tokens_in or 0
            total.output_tokens += tokens_out or 0
            total.cost_nanos += cost_nanos(cost)
            if latency_ms is not None:
                total.latencies[bucket_of(latency_ms)] += 1
    return sums


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
        found = connection.execute(
            "SELECT count, errors, input_tokens, output_tokens, cost_nanos, latencies FROM rollups"
            " WHERE span = ? AND dimension = ? AND app = ? AND at_us = ? AND value = ?",
            key,
        ).fetchone()
        if found is not None:
            total.add(*found)
        connection.execute(
            "INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, *total.row()),
        )
