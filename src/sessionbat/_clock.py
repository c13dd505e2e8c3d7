"""Clocks that run on while a test of the host stops or moves time.

Deadlines, pauses and latencies are measured here, or a process under ``freeze_time`` would never
end. What an event says of the time of day is not: a test that sets the time wants to see it.

freezegun replaces these functions wherever a loaded module holds them, and ``mock.patch`` where
the ``time`` module does. So they are taken from a second copy of that module, which nobody else
can reach. ``time_machine`` moves the wall clock inside the interpreter, and cannot be evaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.machinery import BuiltinImporter
from typing import Any, Final


def _second_copy_of_time() -> Any:
    spec = BuiltinImporter.find_spec("time")
    if spec is None:  # an interpreter that keeps it in a file of its own
        return time
    module = BuiltinImporter.create_module(spec)
    if module is None:
        return time
    BuiltinImporter.exec_module(module)
    return module


_time: Final = _second_copy_of_time()

#: Seconds, ascending: for deadlines.
monotonic: Final[Callable[[], float]] = partial(_time.monotonic)
#: Seconds, in the finest steps there are: for latencies.
perf_counter: Final[Callable[[], float]] = partial(_time.perf_counter)
#: The same in nanoseconds.
perf_counter_ns: Final[Callable[[], int]] = partial(_time.perf_counter_ns)
#: Seconds since the epoch, of the machine: for the age of files and the dates of an endpoint.
wall_clock: Final[Callable[[], float]] = partial(_time.time)
