"""How a process ends where ``atexit`` does not say so: children of multiprocessing and their kin.

A forked child of ``multiprocessing`` leaves by ``os._exit``, after that library's own finalizers;
Celery kills its children after a signal of its own; a pool kills its workers without a word. The
worker asks here; nothing is imported or patched for it, and no handler of the system's signals is
installed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from sessionbat._at_import import INSIDE_EXIT_HANDLER

#: Below whatever else is finalized: what other finalizers record is included.
LAST: Final = -1000

#: Libraries whose children end by the finalizers of ``multiprocessing.util``; one is Celery's.
_LIBRARIES: Final = ("multiprocessing", "billiard")

_forked = False
_finalizer: Any = None
_last_thread: threading.Thread | None = None


def is_child() -> bool:
    """Whether this process was forked, or started by a library that may kill its children."""
    return _forked or _has_parent()


def watch(settle: Callable[[], None]) -> bool:
    """Have ``settle`` called at the end of a child that leaves without ``atexit``.

    Called with the first event of a process, and whenever a thread is started again.

    Returns:
        False when the end has begun: what is recorded now has to be safe at once.
    """
    global _finalizer
    if _is_over():
        return False
    util = _finalizers()
    if util is None:
        return True
    if util.is_exiting():
        _settle_last(settle)
        return False
    if _has_parent() and not _is_active(_finalizer):
        _finalizer = util.Finalize(None, _at_finalizers, args=(settle,), exitpriority=LAST)
        _watch_celery(settle)
    return True


def _watch_celery(settle: Callable[[], None]) -> None:
    """Hear of the end of a child of Celery's: killed without finalizers, but it says so first."""
    ending = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if ending is None:
        return

    def shut_down(**_: object) -> None:
        settle()

    ending.connect(shut_down, weak=False, dispatch_uid=__name__)


def _at_finalizers(settle: Callable[[], None]) -> None:
    # Python 3.13 has joined the threads by now; earlier ones do so after the finalizers.
    if not _awaited_threads() or not _settle_last(settle):
        settle()


def _settle_last(settle: Callable[[], None]) -> bool:
    """Call it once every other thread has ended for which the process waits; false if it cannot."""
    global _last_thread
    if _last_thread is not None and _last_thread.is_alive():
        return True
    try:
        # Not a daemon: the process waits for it, too.
        _last_thread = threading.Thread(
            target=_settle_after_threads, args=(settle,), name="sessionbat-end", daemon=False
        )
        _last_thread.start()
    except RuntimeError:  # there are no more threads
        return False
    return True


def _settle_after_threads(settle: Callable[[], None]) -> None:
    while threads := _awaited_threads():
        for thread in threads:
            thread.join()
    settle()


def _awaited_threads() -> list[threading.Thread]:
    ours = (threading.current_thread(), threading.main_thread())
    return [t for t in threading.enumerate() if not t.daemon and t not in ours]


def _is_over() -> bool:
    """Whether the interpreter runs ``atexit`` handlers in this thread, or is beyond them."""
    main = threading.main_thread()
    if threading.get_ident() == main.ident and not main.is_alive():
        return True
    # ``threading`` was not there yet to be told that the main thread is through.
    return INSIDE_EXIT_HANDLER and not _forked


def _is_active(finalizer: Any) -> bool:
    """Whether a finalizer will be called in this very process: a fork clears or disables them."""
    return finalizer is not None and finalizer.still_active() and finalizer._pid == os.getpid()


def _finalizers() -> ModuleType | None:
    """``multiprocessing.util``, if it is loaded whole: without it no process ends by it."""
    util = sys.modules.get("multiprocessing.util")
    return util if hasattr(util, "is_exiting") and hasattr(util, "Finalize") else None


def _has_parent() -> bool:
    for library in _LIBRARIES:
        current = getattr(sys.modules.get(f"{library}.process"), "current_process", None)
        if current is not None and getattr(current(), "_parent_pid", None) is not None:
            return True
    return False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
