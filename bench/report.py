"""Samples → the two tables and the JSON file."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from rich.table import Table

from bench.field import CONTESTANTS
from bench.runs import Sample
from bench.targets import Result

#: Title, measurement, figure, format.
ROWS = (
    ("hot, 1 KB: p50, µs a call", "hot", "p50", "{:.1f}"),
    ("p99", "hot", "p99", "{:.0f}"),
    ("p99.9", "hot", "p999", "{:,.0f}"),
    ("max", "hot", "max", "{:,.0f}"),
    ("1,000/s, 1 KB: p50, µs a call", "paced", "p50", "{:.1f}"),
    ("p99", "paced", "p99", "{:.0f}"),
    ("hot, 20 KB: p50, µs a call", "hot_20kb", "p50", "{:.1f}"),
    ("CPU until delivered, µs an event", "delivery", "cpu_us", "{:.0f}"),
    ("lossless throughput, events/s", "delivery", "events_per_s", "{:,.0f}"),
    ("lost of it", "delivery", "lost", "{:,.0f}"),
    ("bytes on the wire an event", "delivery", "bytes_per_event", "{:,.0f}"),
    ("requests for 10,000 events", "delivery", "requests_per_10000", "{:,.0f}"),
    ("20 KB: CPU, µs an event", "delivery_20kb", "cpu_us", "{:.0f}"),
    ("20 KB: events/s", "delivery_20kb", "events_per_s", "{:,.0f}"),
    ("burst of 100,000: lost", "burst", "lost", "{:,.0f}"),
    ("time to record, s", "burst", "seconds", "{:.2f}"),
    ("peak memory, MB", "burst", "rss_mb", "{:.0f}"),
    ("import, ms", "construct", "import_ms", "{:.0f}"),
    ("of it CPU", "construct", "import_cpu_ms", "{:.0f}"),
    ("first client, ms", "construct", "client_ms", "{:.0f}"),
    ("of it CPU", "construct", "client_cpu_ms", "{:.0f}"),
    ("exit, endpoint up, s", "exit_up", "extra_seconds", "{:.2f}"),
    ("lost of 100", "exit_up", "lost", "{:.0f}"),
    ("exit, refusing, s", "exit_refusing", "extra_seconds", "{:.2f}"),
    ("exit, hanging, s", "exit_hanging", "extra_seconds", "{:.2f}"),
    ("single events, 50 ms each: events/s", "single", "events_per_s", "{:.0f}"),
    ("senders", "single", "most_in_flight", "{:.0f}"),
)


def medians(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float]]]:
    """Take the median over the repeats: contestant → measurement → figure."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for sample in samples:
        for figure, value in sample.figures.items():
            key = (sample.contestant, sample.measurement, figure)
            values.setdefault(key, []).append(value)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (contestant, measurement, figure), each in values.items():
        found.setdefault(contestant, {}).setdefault(measurement, {})[figure] = median(each)
    return found


def figures_table(samples: Sequence[Sample]) -> Table:
    found = medians(samples)
    names = [each.name for each in CONTESTANTS if each.name in found and each.name != "nothing"]
    table = Table(title="What recording costs: medians of the repeats")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for title, measurement, figure, form in ROWS:
        cells = [found[name].get(measurement, {}).get(figure) for name in names]
        if any(cell is not None for cell in cells):
            table.add_row(title, *("" if cell is None else form.format(cell) for cell in cells))
    return table


def targets_table(results: Sequence[Result]) -> Table:
    table = Table(title="SessionBat's targets: medians of ratios paired within a repeat")
    for name in ("target", "beside", "found", "lowest to highest", "bar", ""):
        table.add_column(name, justify="left" if name in ("target", "beside", "") else "right")
    for result in results:
        table.add_row(*_target_row(result))
    return table


def _target_row(result: Result) -> tuple[str, ...]:
    target = result.target

    def text(value: float) -> str:
        return f"{value:.3g} ×" if target.rival else f"{value:.3g}{target.unit}"

    bar = f"{'≥' if target.at_least else '≤'} {text(target.bar)}"
    if result.met is None:
        return target.title, target.rival, "", "", bar, "not measured"
    spread = f"{text(result.values[0])} to {text(result.values[-1])}"
    met = "[green]met[/]" if result.met else "[red]missed[/]"
    return target.title, target.rival, text(result.value), spread, bar, met


def as_json(samples: Sequence[Sample], results: Sequence[Result]) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {c.name: list(c.requirements) for c in CONTESTANTS if c.requirements},
        "figures": medians(samples),
        "targets": [
            {
                "title": result.target.title,
                "rival": result.target.rival or None,
                "value": result.value if result.values else None,
                "values": result.values,
                "bar": result.target.bar,
                "at_least": result.target.at_least,
                "met": result.met,
            }
            for result in results
        ],
        "samples": [
            {
                "repeat": sample.repeat,
                "measurement": sample.measurement,
                "contestant": sample.contestant,
                "figures": sample.figures,
            }
            for sample in samples
        ],
    }
