"""An HTTP response that has to be there in time as a whole, its headers included.

The standard library's timeout is for each read: an endpoint that sends a byte now and then would
hold a request for as long as it likes.
"""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

from sessionbat._clock import monotonic


class PromptResponse(http.client.HTTPResponse):
    """Reads until the socket's timeout has passed since the request was sent, and no longer."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        timeout = sock.gettimeout()
        if timeout is not None:
            reader = self.fp.detach()
            self.fp = io.BufferedReader(_Until(monotonic() + timeout, sock, reader))


class _Until(io.RawIOBase):
    """A socket's reader that gives up at a point in monotonic time."""

    def __init__(self, deadline: float, sock: socket.socket, reader: io.RawIOBase) -> None:
        self._deadline = deadline
        self._sock = sock
        self._reader = reader

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, or wait for it until the deadline."""
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)
        read: int | None = self._reader.readinto(buffer)
        return read

    def close(self) -> None:
        """Let go of the socket."""
        self._reader.close()
        super().close()
