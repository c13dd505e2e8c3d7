"""Formats the server's log: one line for each record, as text or as JSON.

Every message ends in a slug in brackets; figures go into ``extra={"fields": {...}}``. No line holds
a payload, a key or the text of a query. That includes exceptions that a library logs: only their
type and places are written, since their message may quote a payload.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from typing import Any, Final, Literal, TextIO

LogFormat = Literal["text", "json"]

_SLUG: Final = re.compile(r" \[([a-z]+(?:-[a-z]+)*)\]\Z")


def configure_logging(form: LogFormat, stream: TextIO | None = None) -> None:
    """Send this process's log to a stream (standard error); for processes that only serve."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("sessionbat").setLevel(logging.INFO)


class _TextFormatter(logging.Formatter):
    """``2026-11-22T16:00:00.123Z INFO stopped after 12 s [stopped]``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; the places of an exception follow on lines of their own."""
        line = f"{_time(record)} {record.levelname} {_one_line(record.getMessage())}"
        return line if record.exc_info is None else f"{line}\n{_describe(record)}"


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: ``at``, ``level``, ``slug``, ``message``, and the figures."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record as an object."""
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
