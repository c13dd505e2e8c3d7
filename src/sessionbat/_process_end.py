"""Detects the end of the process, then records open operations and delivers all events.

Most processes run ``atexit`` handlers. But a forked child of ``multiprocessing`` leaves by
``os._exit`` after that library's own finalizers, Celery kills its children after a signal of its
own, and a pool kills its workers without notice. Therefore ``watch`` is called in each process that
has something to lose. It imports and patches nothing, and installs no signal handler.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from math import inf
from types import ModuleType
from typing import Any, Final

from sessionbat._at_import import INSIDE_EXIT_HANDLER
from sessionbat._clock import monotonic

#: The longest time, in seconds, that recording open operations may take at the end.
LAST_RECORDS_S: Final = 1.0

#: Our finalizer runs last, so that it includes events which other finalizers record.
LAST: Final = -1000

#: Libraries whose child processes run finalizers before they leave; billiard is Celery's.
_LIBRARIES: Final = ("multiprocessing", "billiard")

_records: list[Callable[[], object]] = []
_deliveries: list[Callable[[bool, float], object]] = []
#: The deadline for recording open operations, in monotonic time; infinite before the end.
_records_until = inf

_forked = False
_finalizer: Any = None
_last_thread: threading.Thread | None = None


def record_at_end(act: Callable[[], object]) -> None:
    """Call ``act`` when the process ends, before the last delivery, to record open operations.

    It must not raise, may be called more than once, and stops when no ``seconds_left``.
    """
    _records.append(act)


def deliver_at_end(act: Callable[[bool, float], object]) -> None:
    """Call ``act(for_good, started)`` when the process ends.

    Args:
        act: Gets whether all other threads are over for good, and when the end began, in monotonic
            time.
    """
    _deliveries.append(act)


def seconds_left() -> float:
    """Return the time left for recording open operations; infinite before the process ends."""
    return _records_until - monotonic()


def is_child() -> bool:
    """Tell whether this process was forked, or started by a library that may kill its children."""
    return _forked or _has_parent()


def watch() -> bool:
    """Make sure that the end of this process is noticed, even if it skips ``atexit``.

    Called with the first event and the first open operation of a process, and whenever the delivery
    thread is started again.

    Returns:
        False when the end has begun, so that each event must be written to disk at once.
    """
    global _finalizer
    if _records_until != inf:
        return True  # the end has begun, but its delivery is still to come
    if _is_over():
        return False
    util = _finalizers()
    if util is None:
        return True
    if util.is_exiting():
        _settle_last()
        return False
    if _has_parent() and not _is_active(_finalizer):
        _finalizer = util.Finalize(None, _at_finalizers, exitpriority=LAST)
        _watch_celery()
    return True


def _watch_celery() -> None:
    """Connect to the signal that Celery sends before it kills a child without finalizers."""
    ending = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if ending is None:
        return

    def shut_down(**_: object) -> None:
        _settle()

    ending.connect(shut_down, weak=False, dispatch_uid=__name__)


def _at_finalizers() -> None:
    # Python 3.13 has joined the threads by now; earlier ones do so after the finalizers.
    if not _awaited_threads() or not _settle_last():
        _settle()


def _settle_last() -> bool:
    """Settle after all other non-daemon threads have ended; False if no thread can be started."""
    global _last_thread
    if _last_thread is not None and _last_thread.is_alive():
        return True
    try:
        # Not a daemon: the process waits for it, too.
        _last_thread = threading.Thread(
            target=_settle_after_threads, name="sessionbat-end", daemon=False
        )
        _last_thread.start()
    except RuntimeError:  # there are no more threads
        return False
    return True


def _settle_after_threads() -> None:
    while threads := _awaited_threads():
        for thread in threads:
            thread.join()
    _settle()


def _settle() -> None:
    """Record and deliver now; the process may still record, and may leave without notice."""
    _end(for_good=False)


def _end(for_good: bool) -> None:
    global _records_until
    started = monotonic()
    _records_until = started + LAST_RECORDS_S
    try:
        for record in _records:
            record()
    finally:  # also when a user loses patience and presses Ctrl-C
        _records_until = inf
        for deliver in _deliveries:
            deliver(for_good, started)


def _awaited_threads() -> list[threading.Thread]:
    ours = (threading.current_thread(), threading.main_thread())
    return [t for t in threading.enumerate() if not t.daemon and t not in ours]


def _is_over() -> bool:
    """Tell whether the interpreter has reached the ``atexit`` handlers."""
    main = threading.main_thread()
    if threading.get_ident() == main.ident and not main.is_alive():
        return True
    # ``threading`` was loaded too late to learn that the main thread has ended.
    return INSIDE_EXIT_HANDLER and not _forked


def _is_active(finalizer: Any) -> bool:
    """Tell whether a finalizer will run in this process: a fork clears or disables them."""
    return finalizer is not None and finalizer.still_active() and finalizer._pid == os.getpid()


def _finalizers() -> ModuleType | None:
    """Get ``multiprocessing.util`` if it is completely loaded; else no process ends by it."""
    util = sys.modules.get("multiprocessing.util")
    return util if hasattr(util, "is_exiting") and hasattr(util, "Finalize") else None


def _has_parent() -> bool:
    for library in _LIBRARIES:
        current = getattr(sys.modules.get(f"{library}.process"), "current_process", None)
        if current is not None and getattr(current(), "_parent_pid", None) is not None:
            return True
    return False


def _note_fork() -> None:
    global _forked, _records_until
    _forked = True
    _records_until = inf


# Runs after concurrent.futures has joined its threads, so that their last events are included.
atexit.register(_end, for_good=True)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
