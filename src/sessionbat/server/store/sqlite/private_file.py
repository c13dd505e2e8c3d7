"""Creates files that only their owner may read: a store holds user data and a secret."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: Path) -> None:
    """Create an empty file that only its owner may read or write; an existing file is unchanged.

    Never raises: opening the file afterwards reports any problem. SQLite gives the files beside it
    the same permissions.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def share_alike(path: Path, model: Path) -> None:
    """Give a file the read permissions of another."""
    path.chmod(model.stat().st_mode & 0o777)
