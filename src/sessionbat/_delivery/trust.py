"""Whether a file or directory of the spool is this user's alone; nothing else is read or changed.

The spool may lie where others can write: what they leave there would be sent with this user's key.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_WRITABLE_BY_OTHERS: Final = 0o022


class UntrustedError(PermissionError):
    """Something in the spool is not what this user's processes write; its text says why."""


def open_trusted(path: Path, flags: int) -> int:
    """Open a plain file of this user that nobody else may write to; follows no link.

    With ``os.O_CREAT`` the file is made, for this user only, where there is none.

    Raises:
        UntrustedError: It is something else, or somebody else's.
        OSError: It cannot be opened.
    """
    try:
        _check_file(path.lstat())  # first: opening a device or a pipe may do something, or wait
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        flags |= os.O_EXCL
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        _check_file(os.fstat(descriptor))
        if flags & os.O_EXCL:
            os.fchmod(descriptor, 0o600)  # whatever the umask: the next process has to open it
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_trusted_directory(directory: Path) -> bool:
    """Whether a path is a real directory of this user, and exists.

    Raises:
        UntrustedError: It exists and is something else, or somebody else's.
    """
    try:
        _check_directory(directory.lstat())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UntrustedError(str(error)) from None
    return True


def make_private(directory: Path) -> None:
    """Make a directory for this user only, or close one of this user's to others.

    Raises:
        UntrustedError: What is there is something else, or somebody else's.
        OSError: It cannot be made.
    """
    for parent in reversed(directory.parents):
        if not parent.exists():
            parent.mkdir(exist_ok=True)
            parent.chmod(parent.stat().st_mode & 0o777 | 0o700)  # whatever the umask
    try:
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)
    except FileExistsError:
        is_trusted_directory(directory)
    # By descriptor: the name may lead elsewhere by now.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        _check_directory(status)
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def is_ours(path: Path) -> bool:
    """Whether a file of any kind belongs to this user."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _check_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UntrustedError("it is no plain file")
    if status.st_uid != os.geteuid():
        raise UntrustedError("it belongs to another user")
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise UntrustedError("other users may write to it")


def _check_directory(status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise UntrustedError("it is no directory")
    if status.st_uid != os.geteuid():
        raise UntrustedError("it belongs to another user")
