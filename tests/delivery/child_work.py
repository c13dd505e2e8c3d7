"""The work that the children of ``child_forms.py`` do: each records, and none flushes or closes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sessionbat import SessionBat

client = SessionBat(
    app="test-app",
    durability=os.environ.get("DURABILITY", "memory"),
    spool=os.environ.get("SPOOL") != "no",
)

#: Longer than the stated window, in which a child that is killed may lose what it recorded.
BEYOND_THE_WINDOW_S = 0.5


def record(text: str) -> None:
    client.session(session_id="s").interaction().llm(model="m", input=text)


def work(number: int) -> int:
    """End right after the last event."""
    for _ in range(3):
        record("child")
    return number


def work_early(number: int) -> int:
    """Record, and go on for longer than the window."""
    record("early")
    time.sleep(BEYOND_THE_WINDOW_S)  # the answer that is waited for
    return number


def work_to_the_end(number: int) -> int:
    """Record in the very last moment."""
    record("last")
    return number


def fail(number: int) -> None:
    work(number)
    raise ValueError(number)


def leave(number: int) -> None:
    work(number)
    sys.exit(3)


def end_in_a_thread(number: int) -> None:
    """Return while a thread that the process waits for goes on recording."""

    def outlast() -> None:
        while threading.main_thread().is_alive():
            time.sleep(0.001)  # between two looks
        work(number)

    threading.Thread(target=outlast).start()


def first_in_a_thread(number: int) -> None:
    """As above, and that thread is given its work by a pool that nobody shuts down."""
    from concurrent.futures import ThreadPoolExecutor

    # Longer than the process's main thread takes to end.
    ThreadPoolExecutor(1).submit(lambda: (time.sleep(0.2), work(number)))


def record_in_finalizers(number: int) -> None:
    """Leave the recording to what the library calls when the child ends."""
    from multiprocessing import util

    for priority in (10, -10, -2000):
        util.Finalize(None, record, args=("child",), exitpriority=priority)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request of a web server."""
    work(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
