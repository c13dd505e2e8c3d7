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
import time
import traceback
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
