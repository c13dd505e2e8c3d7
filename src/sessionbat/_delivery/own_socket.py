"""A connection that knows its socket: it never writes to nor closes what merely has its number.

A host that becomes a daemon closes every descriptor it finds; its next files get those numbers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _Base
else:
    _Base = object


class OwnSocket(_Base):
    """Put before one of urllib3's connection classes."""

    _identity: tuple[int, int] | None = None

    def connect(self) -> None:
        """Connect, and remember which socket that gave."""
        super().connect()
        self._identity = _identity_of(self.sock.fileno())

    @property
    def is_connected(self) -> bool:
        """Whether a kept connection may be used again."""
        self._let_go_of_what_is_not_ours()
        return super().is_connected

    def close(self) -> None:
        """Close the connection."""
        self._let_go_of_what_is_not_ours()
        super().close()

    def _let_go_of_what_is_not_ours(self) -> None:
        sock = self.sock
        if sock is not None and _identity_of(sock.fileno()) != self._identity:
            sock.detach()
            self.sock = None


def _identity_of(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
