"""One way to run something in the background, and one to log what may happen often.

A ``Background`` is a daemon thread that takes turns: started by the first who needs it, woken,
closed. A turn that fails is counted, logged at most once a minute, and followed by the next.
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
    """A thread that calls ``turn`` again and again, until it returns False.

    ``changed`` guards whatever the turn and its callers share; a turn that waits for work waits by
    ``wait_for``, with the lock held, for its work or ``is_closing``.

    Args:
        name: The thread's.
        turn: Does some work; False: there is no more to do, and the thread ends.
        failing: Says in the log which work fails.
        retry_s: Seconds from a turn that failed to the next.
        is_told: Whether a failure has its line in the log from somebody else.
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
        """Start the thread, unless it was started before, or closed."""
        if self._thread is not None:
            return
        with self.changed:
            if self._thread is None and not self.is_closing:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Have a turn that waits look again."""
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until something holds, at most so many seconds; the turn is woken by ``wake``."""
        with self.changed:
            self.changed.wait_for(predicate, timeout)

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until the thread is to end; True: it is to end."""
        self.wait_for(lambda: self.is_closing, seconds)
        return self.is_closing

    def stop_soon(self) -> None:
        """Tell the thread that it is to end; returns at once."""
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()

    def close(self) -> None:
        """Wait until the turn under way is done, and those that it leaves to be done at the end."""
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
    """Logs what may happen a thousand times a second once a minute, with how often it did.

    Args:
        log: Where to.
        slug: Ends each line.
        message: Says what happened; given the count and the reason, ``%d`` and ``%s``.
        level: Of each line.
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
        #: How often each happened since its last line, and the latest reason.
        self._counts: dict[str, tuple[int, str]] = {}
        self._logged_at: dict[str, float] = {}

    def note(self, reason: str, *, about: str | None = None) -> None:
        """Count it, and log the count unless that was done within a minute.

        Args:
            reason: Named in the line, of several the last.
            about: What is counted together, and logged once a minute; their number must be
                bounded. None: the reason, a slug or another word of ours.
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
        """Log what was counted and not logged yet."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for count, reason in counts.values():
            if count:
                self._write(count, reason)

    def _write(self, count: int, reason: str) -> None:
        fields = {"count": count, "reason": reason}
        self._log.log(self._level, self._line, count, reason, extra={"fields": fields})


def describe_failure(exc: Exception) -> str:
    """Describe an error for the log: what and where, never its message, which may quote a payload.

    Errors of the store and of the system name no payload, and are given in full.
    """
    if isinstance(exc, StoreError | OSError):
        return str(exc)
    places = traceback.format_tb(exc.__traceback__)
    return f"{type(exc).__name__}\n{''.join(places)}"
