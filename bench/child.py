"""One measurement of one contestant, in a process of its own; prints what it found as JSON.

Run by `runs`: `python -m bench.child '{"measure": "hot", "module": "floor", …}'`. Standard library
only, because it runs in the environments of all contestants.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.sink import control
from bench.workload import WARM_UP_MARKER, Workload

WARM_UP_CALLS = 300


def main(order: dict[str, Any]) -> None:
    measure = order["measure"]
    contestant = importlib.import_module(f"bench.contestants.{order['module']}")
    workload = Workload(order["kilobytes"])
    gc.collect()
    gc.freeze()  # the prepared chats are the benchmark's, not the application's
    recorder = contestant.start(
        order["address"], unbounded=measure == "delivery", **order["options"]
    )
    if measure == "exit":
        for number in range(order["count"]):
            recorder.record(workload.call(number))
        report({"ended_at": time.monotonic()})
        return  # the interpreter ends as it always does, and the SDK with it
    warm_up(recorder, order)
    report(MEASURES[measure](recorder, workload, order["count"]))
    os._exit(0)


def warm_up(recorder: Any, order: dict[str, Any]) -> None:
    """Connect, load what is loaded late, learn what the endpoint takes; then forget it."""
    workload = Workload(1, WARM_UP_MARKER, WARM_UP_CALLS)
    for number in range(1 if order["measure"] == "single" else WARM_UP_CALLS):
        recorder.record(workload.call(number))
    recorder.flush()
    control(order["address"], "reset")


def hot(recorder: Any, workload: Workload, count: int) -> dict[str, float]:
    """Cost of a call in a tight loop, in microseconds."""
    took = []
    for number in range(count):
        call = workload.call(number)
        begun = time.perf_counter_ns()
        recorder.record(call)
        took.append(time.perf_counter_ns() - begun)
    return distribution(took)


def paced(recorder: Any, workload: Workload, count: int) -> dict[str, float]:
    """Cost of a call at 1,000 a second, with the sleep between them that cools the caches."""
    took = []
    started = time.perf_counter()
    for number in range(count):
        pause = started + number / 1000 - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        call = workload.call(number)
        begun = time.perf_counter_ns()
        recorder.record(call)
        took.append(time.perf_counter_ns() - begun)
    return distribution(took)


def delivery(recorder: Any, workload: Workload, count: int) -> dict[str, float]:
    """Time and CPU from the first call until everything is delivered."""
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        recorder.record(workload.call(number))
    recorder.flush()
    return {
        "recorded": count,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def burst(recorder: Any, workload: Workload, count: int) -> dict[str, float]:
    """How long recording takes, and how much memory until everything is delivered."""
    began = time.perf_counter()
    for number in range(count):
        recorder.record(workload.call(number))
    seconds = time.perf_counter() - began
    recorder.flush()
    return {"recorded": count, "seconds": seconds, "rss_mb": peak_rss_megabytes()}


MEASURES = {"hot": hot, "paced": paced, "delivery": delivery, "single": delivery, "burst": burst}


def distribution(nanoseconds: list[int]) -> dict[str, float]:
    ordered = sorted(nanoseconds)

    def at(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000

    return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": ordered[-1] / 1000}


def peak_rss_megabytes() -> float:
    try:
        with Path("/proc/self/status").open() as status:
            # Not ``ru_maxrss``: Linux hands that on from the process that started this one.
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def report(figures: dict[str, float]) -> None:
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
