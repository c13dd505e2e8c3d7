"""An open file that is used only as long as its number still means it."""

from __future__ import annotations

import contextlib
import errno
import os


class OwnFile:
    """A descriptor, and which file it was opened for.

    A host that becomes a daemon closes every descriptor it finds, and its next file gets our
    number: nothing may be written there, and it is not ours to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)

    @property
    def number(self) -> int:
        """The descriptor.

        Raises:
            OSError: It was closed, by us or by somebody else.
        """
        if self._descriptor >= 0:
            status = os.fstat(self._descriptor)
            if (status.st_dev, status.st_ino) == self._identity:
                return self._descriptor
        raise OSError(errno.EBADF, "a file of the spool was closed by somebody else")

    def close(self) -> None:
        """Let go of it; does nothing when that was done."""
        with contextlib.suppress(OSError):
            os.close(self.number)
        self._descriptor = -1
