"""Which measurement of whom, in which order; each in a process of its own. Gives samples.

Repeats are interleaved: one measurement of the product is followed by the same of its rivals, so
that what else the machine does meets them alike. Ratios are formed within a repeat.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.field import CONTESTANTS, Contestant
from bench.sink import Sink

ROOT = Path(__file__).parents[1]
CHILD_TIMEOUT_S = 180.0
SELDOM_REPEATS = 2
STARTS = 4


@dataclass(frozen=True)
class Measurement:
    """One thing to measure: the function in `child`, the size of a call, and how many of them."""

    name: str
    measure: str
    kilobytes: int = 1
    calls: int = 0
    quick_calls: int = 0
    #: Where the sink is asked to behave otherwise than a contestant's own port does.
    sink: str = ""
    only: tuple[str, ...] = ()


MEASUREMENTS = (
    Measurement("construct", "construct"),
    Measurement("hot", "hot", calls=20_000, quick_calls=5_000),
    Measurement("paced", "paced", calls=3_000, quick_calls=1_000),
    Measurement("hot_20kb", "hot", kilobytes=20, calls=1_500, quick_calls=500),
    Measurement("delivery", "delivery", calls=20_000, quick_calls=6_000),
    Measurement("delivery_20kb", "delivery", kilobytes=20, calls=1_500, quick_calls=500),
    Measurement("burst", "burst", calls=100_000, quick_calls=100_000),
    Measurement(
        "single", "single", calls=1_000, quick_calls=400, sink="single", only=("sessionbat",)
    ),
    Measurement("exit_up", "exit", calls=100, quick_calls=100),
    Measurement("exit_refusing", "exit", calls=100, quick_calls=100, sink="refusing"),
    Measurement("exit_hanging", "exit", calls=100, quick_calls=100, sink="hanging"),
)


@dataclass(frozen=True)
class Sample:
    """What one measurement of one contestant found in one repeat."""

    repeat: int
    measurement: str
    contestant: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Step:
    """One measurement of one contestant, about to be made."""

    repeat: int
    measurement: Measurement
    contestant: Contestant

    @property
    def title(self) -> str:
        return f"{self.measurement.name}: {self.contestant.name}"

    @property
    def waits_at_exit(self) -> bool:
        """Whether it mostly waits for a dead endpoint, so that others may run beside it."""
        return self.contestant.is_peer and self.measurement.name in (
            "exit_refusing",
            "exit_hanging",
        )


def steps(repeats: int, *, quick: bool, peers: bool) -> list[Step]:
    """Put everything into order: repeat by repeat, measurement by measurement."""
    made = [
        Step(repeat, measurement, contestant)
        for repeat in range(repeats)
        for measurement in MEASUREMENTS
        for contestant in CONTESTANTS
        if peers or not contestant.is_peer
        if _takes_part(contestant, measurement)
        if repeat < _repeats(contestant, measurement, quick=quick)
    ]
    return sorted(made, key=lambda step: (step.repeat, step.waits_at_exit))


def _takes_part(contestant: Contestant, measurement: Measurement) -> bool:
    if measurement.only:
        return contestant.name in measurement.only
    return not contestant.only or measurement.name in contestant.only


def _repeats(contestant: Contestant, measurement: Measurement, *, quick: bool) -> int:
    if contestant.is_peer and measurement.measure == "exit":
        return 1
    if contestant.is_peer and measurement.name == "burst" and quick:
        return 0  # most of the time of a quick run, and no target asks for it
    if contestant.seldom:
        return 1 if quick or measurement.name == "burst" else SELDOM_REPEATS
    return sys.maxsize


class NothingFoundError(RuntimeError):
    """A child ended, or was ended, without a figure."""


class Runner:
    """Runs steps in child processes that see nothing of this process's environment.

    Args:
        sink: Where the contestants send to.
        interpreters: The Python of each contestant, by name.
        quick: Fewer calls, shorter waits.
        home: An empty directory; the children's home, and where they may spool.
    """

    def __init__(
        self, sink: Sink, interpreters: dict[str, Path], *, quick: bool, home: Path
    ) -> None:
        self._sink = sink
        self._interpreters = interpreters
        self._quick = quick
        self._home = home
        self._exit_limit_s = 5.0 if quick else 15.0

    def run(self, ordered: list[Step]) -> Iterator[tuple[Step, Sample]]:
        """Make the steps, one after the other; those that only wait, all at once."""
        alone = [step for step in ordered if not step.waits_at_exit]
        for step in alone:
            yield step, self._sample(step)
        waiting = [step for step in ordered if step.waits_at_exit]
        with ThreadPoolExecutor(max_workers=len(waiting) or 1) as pool:
            yield from zip(waiting, pool.map(self._sample, waiting), strict=True)

    def _sample(self, step: Step) -> Sample:
        try:
            figures = self._figures(step)
        except NothingFoundError as failure:  # one figure is missing; the others are worth having
            print(f"{step.title}: {failure}", file=sys.stderr)
            figures = {}
        return Sample(step.repeat, step.measurement.name, step.contestant.name, figures)

    def _figures(self, step: Step) -> dict[str, float]:
        if step.measurement.measure == "construct":
            return self._construct(step)
        if step.measurement.measure == "exit":
            return self._exit(step)
        return self._measure(step)

    def _measure(self, step: Step) -> dict[str, float]:
        self._sink.reset()
        answer, _ = self._child(step)
        if step.measurement.measure in ("hot", "paced"):
            return answer
        found = answer | self._sink.tally()
        found["lost"] = found["recorded"] - found["events"]
        events = max(found["events"], 1)
        found["events_per_s"] = found["events"] / found["seconds"]
        found["bytes_per_event"] = found["bytes"] / events
        found["requests_per_10000"] = found["requests"] * 10_000 / events
        if "cpu_seconds" in found:
            found["cpu_us"] = found["cpu_seconds"] * 1e6 / events
        return found

    def _exit(self, step: Step) -> dict[str, float]:
        """Time from the last statement of a program to the end of its process."""
        up = step.measurement.name == "exit_up"
        if up:
            self._sink.reset()
        answer, ended_at = self._child(step)
        figures = {"seconds": min(ended_at - answer["ended_at"], self._exit_limit_s)}
        if up:
            figures["lost"] = step.measurement.calls - self._sink.tally()["events"]
        return figures

    def _construct(self, step: Step) -> dict[str, float]:
        """Milliseconds of the import, and from there to the first client.

        The shortest of a few: the first one may still have to compile, and what else the machine
        does can only add.
        """
        script = (
            "import time, bench.contestants\n"
            "began, cpu = time.perf_counter(), time.process_time()\n"
            f"from bench.contestants import {step.contestant.module} as contestant\n"
            "imported, import_cpu = time.perf_counter(), time.process_time()\n"
            f"contestant.start({self._sink.address()!r}, **{step.contestant.options!r})\n"
            "made, made_cpu = time.perf_counter(), time.process_time()\n"
            "import json, os\n"
            "print(json.dumps({'import_ms': 1e3 * (imported - began),"
            " 'import_cpu_ms': 1e3 * (import_cpu - cpu),"
            " 'client_ms': 1e3 * (made - imported),"
            " 'client_cpu_ms': 1e3 * (made_cpu - import_cpu)}), flush=True)\n"
            "os._exit(0)\n"
        )
        starts = [
            self._run(step.contestant, ["-c", script])[0]
            for _ in range(2 if self._quick else STARTS)
        ]
        return {name: min(start[name] for start in starts) for name in starts[0]}

    def _order(self, step: Step) -> dict[str, Any]:
        measurement = step.measurement
        return {
            "measure": measurement.measure,
            "module": step.contestant.module,
            "options": step.contestant.options,
            "kilobytes": measurement.kilobytes,
            "count": measurement.quick_calls if self._quick else measurement.calls,
            "address": self._sink.address(measurement.sink or step.contestant.sink),
        }

    def _child(self, step: Step) -> tuple[dict[str, float], float]:
        order = json.dumps(self._order(step))
        return self._run(step.contestant, ["-m", "bench.child", order])

    def _run(self, contestant: Contestant, arguments: list[str]) -> tuple[dict[str, float], float]:
        """Run a child; what it printed, and when its process ended or was ended by us."""
        command = [str(self._interpreters[contestant.name]), *arguments]
        with (
            tempfile.TemporaryDirectory(dir=self._home) as home,
            tempfile.TemporaryFile() as errors,
        ):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_environment(contestant, home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            assert process.stdout is not None
            with process, _killed_after(CHILD_TIMEOUT_S, process):
                printed = process.stdout.readline()
                # The limit of an exit begins here: a start may take long on a busy machine.
                try:
                    process.communicate(timeout=self._exit_limit_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                ended_at = time.monotonic()
            if not printed:
                errors.seek(0)
                said = errors.read()[-2000:].decode(errors="replace")
                raise NothingFoundError(f"{contestant.name} found nothing: {said}")
            found: dict[str, float] = json.loads(printed)
            return found, ended_at


@contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _environment(contestant: Contestant, home: str) -> dict[str, str]:
    """Nothing of ours: no keys, no settings. A peer reaches nothing but loopback."""
    made = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "DO_NOT_TRACK": "1",
        "SESSIONBAT_SPOOL_DIR": home,
    }
    if not contestant.is_peer:
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        made["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
        return made
    nowhere = "http://127.0.0.1:9"
    return made | {"http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": "127.0.0.1"}
