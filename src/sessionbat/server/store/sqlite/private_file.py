"""Files that only their owner may read: a store holds what users said, and a secret."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: Path) -> None:
    """Make an empty file that nobody else may read or write; leave one that is there as it is.

    Raises nothing: who opens the file next says what is wrong with it. SQLite gives the files
    beside it the same rights.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def share_alike(path: Path, model: Path) -> None:
    """Let those read a file who may read another."""
    path.chmod(model.stat().st_mode & 0o777)
