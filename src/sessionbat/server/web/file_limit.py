"""How many files this process may open: each connection is one.

Called when a server starts, and by programs that open many connections to one.
"""

from __future__ import annotations

from typing import Final

from sessionbat.errors import ConfigurationError

# Files that are open beside connections: the store, its readers, a listener, standard streams.
_OTHER_FILES: Final = 64
_WANTED_FILES: Final = 65_536
# A browser alone takes six; fewer would answer most requests 503.
_MIN_CONNECTIONS: Final = 32


def raise_file_limit() -> None:
    """Raise this process's limit on open files to the maximum; each connection is a file."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_file_limit() -> None:
    """Check that the limit on open files leaves room for connections.

    Raises:
        ConfigurationError: The system allows this process too few open files.
    """
    limit, needed = _file_limit(), _OTHER_FILES + _MIN_CONNECTIONS
    if limit < needed:
        raise ConfigurationError(
            f"this process may open {limit} files and needs {needed} at least, one for each"
            " connection; allow more: ulimit -n 1024",
            slug="few-files",
        )


def files_for_connections() -> int:
    """Count the files that are left for connections."""
    return _file_limit() - _OTHER_FILES


def _file_limit() -> int:
    try:
        import resource
    except ImportError:  # not POSIX
        return _WANTED_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _WANTED_FILES if soft == resource.RLIM_INFINITY else soft
