"""Start a thread of the SDK's own, and tell whether the current one is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Final

_OURS: Final = "sessionbat-"


def start_thread(role: str, target: Callable[..., None], *args: object) -> threading.Thread | None:
    """Start a daemon thread; None where the interpreter is shutting down or has no more threads."""
    here = threading.get_native_id()

    def run() -> None:
        if threading.get_native_id() != here:  # a green thread is its starter's own
            _take_no_signals_for_writing()
        target(*args)

    try:
        thread = threading.Thread(target=run, name=f"{_OURS}{role}", daemon=True)
        thread.start()
    except RuntimeError:
        return None
    return thread


def is_ours() -> bool:
    """Whether this is a thread of ours: it may hold what a write to disk would wait for.

    Somebody's finalizer may record in any thread that happens to collect garbage.
    """
    return threading.current_thread().name.startswith(_OURS)


def _take_no_signals_for_writing() -> None:
    """Let a write of this thread fail with an error, where the host wants to die of SIGPIPE.

    Such a signal comes to the thread that writes. It stays pending there, and ends nobody.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE, signal.SIGXFSZ})
