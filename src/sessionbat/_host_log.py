"""The host's log as the SDK writes to it: logger ``sessionbat``, and what a handler raises is lost.

Handlers and filters are the host's own code. Where one raises, recording and delivery go on.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

_logger = logging.getLogger("sessionbat")


class HostLog:
    """Writes to the host's log like a ``Logger``, but never raises an ``Exception``."""

    def info(self, message: str, *arguments: object) -> None:
        """Log what is good to know."""
        self._tell(logging.INFO, message, arguments)

    def warning(self, message: str, *arguments: object) -> None:
        """Log what may need somebody's attention."""
        self._tell(logging.WARNING, message, arguments)

    def error(self, message: str, *arguments: object) -> None:
        """Log what needs it."""
        self._tell(logging.ERROR, message, arguments)

    def exception(self, message: str, *arguments: object) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._tell(logging.ERROR, message, arguments, with_traceback=True)

    def _tell(
        self,
        level: int,
        message: str,
        arguments: tuple[object, ...],
        *,
        with_traceback: bool = False,
    ) -> None:
        with contextlib.suppress(Exception):  # there is no other place to say it
            _logger.log(level, message, *arguments, exc_info=with_traceback, stacklevel=3)


host_log: Final = HostLog()
