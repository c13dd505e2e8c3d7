"""How the server writes its log: one line for each thing of note, as text or as JSON.

Whoever logs ends the message in a slug in brackets and gives figures apart, as
``extra={"fields": {...}}``. No line holds a payload, a key or the text of a query; nor does what a
library logs: of an exception only the type and the places are written, since its message may quote
what it choked on.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]

_SLUG: Final = re.compile(r" \[([a-z]+(?:-[a-z]+)*)\]\Z")


def configure_logging(form: LogFormat, stream: TextIO | None = None) -> None:
    """Write this process's log to a stream (standard error); for a process that only serves."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("sessionbat").setLevel(logging.INFO)


class _TextFormatter(logging.Formatter):
    """``2026-11-22T16:00:00.123Z INFO stopped after 12 s [stopped]``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; places of an exception follow on lines of their own."""
        line = f"{_time(record)} {record.levelname} {_one_line(record.getMessage())}"
        return line if record.exc_info is None else f"{line}\n{_describe(record)}"


class _JsonFormatter(logging.Formatter):
    """One object a line: ``at``, ``level``, ``slug``, ``message``, and the figures."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one object."""
        message = record.getMessage()
        slug = _SLUG.search(message)
        fields: dict[str, Any] = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "slug": slug and slug[1],
            "message": _SLUG.sub("", message),
            **getattr(record, "fields", {}),
        }
        if record.exc_info is not None:
            fields["error"] = _describe(record)
        return json.dumps(fields, ensure_ascii=False, default=str)


def _time(record: logging.LogRecord) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{at}.{int(record.msecs):03d}Z"


def _one_line(text: str) -> str:
    # A line break in a path or a host must not look like a line of its own.
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _describe(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}\n{places}".rstrip()


class Seldom:
    """Logs what may happen a thousand times a second once a minute, with how often it did.

    Args:
        log: Where to.
        slug: Ends each line.
        message: Says what happened; given the count and the reason, ``%d`` and ``%s``.
        clock: Seconds.
    """

    EVERY: Final = 60.0

    def __init__(
        self,
        log: logging.Logger,
        slug: str,
        message: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._line = f"{message} [{slug}]"
        self._clock = clock
        self._lock = threading.Lock()  # guards these two
        self._counts: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def note(self, reason: str) -> None:
        """Count it, and log the count unless that was done within a minute.

        Args:
            reason: A slug or another word of ours; their number must be bounded.
        """
        now = self._clock()
        with self._lock:
            count = self._counts.get(reason, 0) + 1
            is_due = now - self._logged_at.get(reason, -self.EVERY) >= self.EVERY
            self._counts[reason] = 0 if is_due else count
            if is_due:
                self._logged_at[reason] = now
        if is_due:
            self._write(count, reason)

    def close(self) -> None:
        """Log what was counted and not logged yet."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for reason, count in counts.items():
            if count:
                self._write(count, reason)

    def _write(self, count: int, reason: str) -> None:
        fields = {"count": count, "reason": reason}
        self._log.info(self._line, count, reason, extra={"fields": fields})
