"""A background thread that repeats a task, and a log that repeats no line too often.

``Background`` is a daemon thread that calls a function again and again; it is started on first use,
woken and closed. A failing call is counted, logged at most once a minute, and followed by the next.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from sessionbat.errors import StoreError

_log = logging.getLogger("sessionbat.server")

_RETRY_S: Final = 1.0


class Background:
    """A thread that calls ``turn`` repeatedly until it returns False.

    ``changed`` guards all state that the turn shares with its callers. A turn waits for work with
    ``wait_for``, holding the lock, until there is work or ``is_closing``.

    Args:
        name: The thread's name.
        turn: Does some work; returning False ends the thread.
        failing: Names the work in the log when it fails.
        retry_s: Seconds between a failed turn and the next one.
        is_told: Whether a failure is already logged elsewhere.
        clock: Seconds.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], bool],
        *,
        failing: str,
        retry_s: float = _RETRY_S,
        is_told: Callable[[Exception], bool] = lambda _exc: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changed = threading.Condition()  # guards what follows, and what its owner shares
        self.failures = 0
        self.is_closing = False
        self._thread: threading.Thread | None = None
        self._name = name
        self._turn = turn
        self._retry_s = retry_s
        self._is_told = is_told
        self._told = Seldom(
            _log,
            "background-failed",
            f"{failing}, trying again; failures since the last such line: %d, the last: %s",
            level=logging.ERROR,
            clock=clock,
        )

    def start(self) -> None:
        """Start the thread, unless it was already started or closed."""
        if self._thread is not None:
            return
        with self.changed:
            if self._thread is None and not self.is_closing:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Wake a waiting turn to check its condition again."""
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until a condition holds, up to a timeout in seconds; ``wake`` checks it again."""
        with self.changed:
            self.changed.wait_for(predicate, timeout)

    def pause(self, seconds: float) -> bool:
        """Wait for some seconds or until the thread has to end; True when it has to end."""
        self.wait_for(lambda: self.is_closing, seconds)
        return self.is_closing

    def stop_soon(self) -> None:
        """Ask the thread to end; returns at once."""
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()

    def close(self) -> None:
        """End the thread; waits for the turn in progress and the work left for the end."""
        self.stop_soon()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._goes_on():
            pass
        self._told.close()

    def _goes_on(self) -> bool:
        try:
            return self._turn()
        except Exception as exc:  # noqa: BLE001 - a full disk now must not end the work for good
            self.failures += 1
            if not self._is_told(exc):
                self._told.note(describe_failure(exc), about="")
            # Closing, it is not tried again: it might fail for ever.
            return not self.pause(self._retry_s)


class Seldom:
    """Logs a frequent event at most once a minute, with the number of times it happened.

    Args:
        log: The logger to write to.
        slug: Ends each line.
        message: A format for the count (``%d``) and the reason (``%s``).
        level: The level of each line.
        clock: Seconds.
    """

    EVERY: Final = 60.0

    def __init__(
        self,
        log: logging.Logger,
        slug: str,
        message: str,
        *,
        level: int = logging.INFO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._line = f"{message} [{slug}]"
        self._level = level
        self._clock = clock
        self._lock = threading.Lock()  # guards these two
        #: For each, the count since its last line and the latest reason.
        self._counts: dict[str, tuple[int, str]] = {}
        self._logged_at: dict[str, float] = {}

    def note(self, reason: str, *, about: str | None = None) -> None:
        """Count one occurrence; log the count unless that was done within the last minute.

        Args:
            reason: Named in the line; the last one, if there are several.
            about: The group to count and log together; the number of groups must be bounded.
                None uses the reason, which must then be a slug or another fixed word.
        """
        about = reason if about is None else about
        now = self._clock()
        with self._lock:
            count = self._counts.get(about, (0, ""))[0] + 1
            is_due = now - self._logged_at.get(about, -self.EVERY) >= self.EVERY
            self._counts[about] = (0 if is_due else count, reason)
            if is_due:
                self._logged_at[about] = now
        if is_due:
            self._write(count, reason)

    def close(self) -> None:
        """Log the counts that are not logged yet."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for count, reason in counts.values():
            if count:
                self._write(count, reason)

    def _write(self, count: int, reason: str) -> None:
        fields = {"count": count, "reason": reason}
        self._log.log(self._level, self._line, count, reason, extra={"fields": fields})


def describe_failure(exc: Exception) -> str:
    """Describe an error for the log: its type and place, not its message (may quote a payload).

    Errors of the store and of the operating system quote no payload and are given in full.
    """
    if isinstance(exc, StoreError | OSError):
        return str(exc)
    places = traceback.format_tb(exc.__traceback__)
    return f"{type(exc).__name__}\n{''.join(places)}"
