"""Metric types and the Prometheus text format, version 0.0.4.

Standard library only: docs/decisions/0041-metrics-without-a-library.md says why. Label values come
from a fixed set: routes, status classes, slugs. No value from a request becomes a label, so their
number is bounded.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds: from a request answered at once to one that is given up.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Events or requests of one commit.
SIZES: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)

_Sample = tuple[str, str, float]  # suffix, labels as they are written, value


class Counter:
    """A count that only grows, for each combination of label values."""

    type: Final = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._lock = threading.Lock()  # guards _counts
        self._counts: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, amount: float, *values: str) -> None:
        """Add to the count of these label values, in the order of their names."""
        with self._lock:
            self._counts[values] = self._counts.get(values, 0) + amount

    def samples(self) -> Iterator[_Sample]:
        """Yield the count of each combination."""
        with self._lock:
            counts = sorted(self._counts.items())
        for values, count in counts:
            yield "", _write_labels(zip(self._labels, values, strict=True)), count


class Gauge:
    """A value that is read when the metrics are scraped.

    Args:
        name: Its name, with its unit.
        help: A description.
        read: Returns the value, or None when it is unknown now.
        type: ``counter`` for a value that only grows and is counted elsewhere.
    """

    def __init__(
        self,
        name: str,
        help: str,
        read: Callable[[], float | None],
        type: Literal["gauge", "counter"] = "gauge",
        labels: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.name = name
        self.help = help
        self.type = type
        self._read = read
        self._labels = _write_labels(labels)

    def samples(self) -> Iterator[_Sample]:
        """Yield its value, if it is known."""
        value = self._read()
        if value is not None:
            yield "", self._labels, value


class States:
    """A gauge with one sample for each state: 1 for the current state, 0 for the others.

    Args:
        name: Its name.
        help: A description.
        states: Every state.
        read: Returns the current state.
    """

    type: Final = "gauge"

    def __init__(
        self, name: str, help: str, states: Sequence[str], read: Callable[[], str]
    ) -> None:
        self.name = name
        self.help = help
        self._states = tuple(states)
        self._read = read

    def samples(self) -> Iterator[_Sample]:
        """Yield a sample for each state."""
        now = self._read()
        for state in self._states:
            yield "", _write_labels([("state", state)]), state == now


class Histogram:
    """Counts of observed values by size, in buckets."""

    type: Final = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.help = help
        self._bounds = tuple(bounds)
        self._lock = threading.Lock()  # guards these two
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def samples(self) -> Iterator[_Sample]:
        """Yield the count up to each bound, the sum and the total count."""
        with self._lock:
            up_to, total = list(accumulate(self._counts)), self._sum
        for bound, count in zip((*self._bounds, float("inf")), up_to, strict=True):
            yield "_bucket", _write_labels([("le", _write_number(bound))]), count
        yield "_sum", "", total
        yield "_count", "", up_to[-1]


Metric = Counter | Gauge | States | Histogram


def write(metrics: Iterable[Metric]) -> bytes:
    """Write metrics in the text format; reads each once."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.type}")
        for suffix, labels, value in metric.samples():
            lines.append(f"{metric.name}{suffix}{labels} {_write_number(value)}")
    return ("\n".join(lines) + "\n").encode()


def _write_labels(labels: Iterable[tuple[str, str]]) -> str:
    written = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
    return f"{{{written}}}" if written else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _write_number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return repr(int(value)) if value == int(value) else repr(value)
