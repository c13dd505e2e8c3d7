"""What SessionBat has set itself, and whether a run met it.

A target with a rival is a ratio: SessionBat's figure over the rival's in the same repeat; the
median over the repeats counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from bench.runs import Sample


@dataclass(frozen=True)
class Target:
    """A bar: at most it, or with `at_least` at least it."""

    title: str
    measurement: str
    figure: str
    bar: float
    rival: str = ""
    at_least: bool = False
    who: str = "sessionbat"
    unit: str = ""


@dataclass(frozen=True)
class Result:
    """What a run says of a target; `values` are the repeats', lowest first."""

    target: Target
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """None when it was not measured."""
        if not self.values:
            return None
        bar = self.target.bar
        return self.value >= bar if self.target.at_least else self.value <= bar


TARGETS = (
    Target("call, hot, 1 KB, p50", "hot", "p50", 1 / 6, "otel"),
    Target("call, hot, 1 KB, p50", "hot", "p50", 4, "floor"),
    Target("call, hot, 1 KB, p99.9", "hot", "p999", 2, "floor"),
    Target("call, 1,000/s, 1 KB, p50", "paced", "p50", 1 / 4, "otel"),
    Target("call, 1,000/s, 1 KB, p99", "paced", "p99", 1 / 4, "otel"),
    Target("call, hot, 20 KB, p50", "hot_20kb", "p50", 1 / 8, "otel"),
    Target("CPU an event until delivered", "delivery", "cpu_us", 1 / 8, "otel_gzip"),
    Target("lossless throughput", "delivery", "events_per_s", 8, "otel", at_least=True),
    Target("bytes on the wire, zstd", "delivery", "bytes_per_event", 1.0, "otel_gzip"),
    Target(
        "bytes on the wire, gzip",
        "delivery",
        "bytes_per_event",
        1.15,
        "otel_gzip",
        who="sessionbat_gzip",
    ),
    Target("requests for 10,000 events", "delivery", "requests_per_10000", 25),
    Target("lost of a burst", "burst", "lost", 0),
    Target("peak memory in the burst", "burst", "rss_mb", 1.3, "floor"),
    Target("import", "construct", "import_ms", 1 / 4, "otel"),
    Target("first client", "construct", "client_ms", 80, unit=" ms"),
    Target("exit, endpoint up: lost", "exit_up", "lost", 0),
    Target("exit, endpoint refusing", "exit_refusing", "extra_seconds", 0.3, unit=" s"),
    Target("exit, endpoint hanging", "exit_hanging", "extra_seconds", 0.6, unit=" s"),
    Target("single events, 50 ms each", "single", "events_per_s", 200, at_least=True, unit="/s"),
    Target("senders for them", "single", "most_in_flight", 12),
)


def with_extra_seconds(samples: Iterable[Sample]) -> list[Sample]:
    """Add to each exit how much longer it took than that of a program that records nothing."""
    samples = list(samples)
    bare = {
        sample.repeat: sample.figures["seconds"]
        for sample in samples
        if sample.contestant == "nothing" and sample.figures
    }
    for sample in samples:
        if sample.measurement.startswith("exit_") and sample.figures and bare:
            extra = sample.figures["seconds"] - bare.get(sample.repeat, min(bare.values()))
            sample.figures["extra_seconds"] = max(0.0, extra)
    return samples


def check(samples: Iterable[Sample]) -> list[Result]:
    """Hold every target against what was found."""
    found = {
        (sample.repeat, sample.measurement, sample.contestant): sample.figures for sample in samples
    }
    return [Result(target, tuple(sorted(_values(target, found)))) for target in TARGETS]


def _values(target: Target, found: dict[tuple[int, str, str], dict[str, float]]) -> Iterable[float]:
    for (repeat, measurement, contestant), figures in found.items():
        if (measurement, contestant) != (target.measurement, target.who):
            continue
        if target.figure not in figures:
            continue
        if not target.rival:
            yield figures[target.figure]
        elif rival := found.get((repeat, measurement, target.rival), {}).get(target.figure):
            yield figures[target.figure] / rival
