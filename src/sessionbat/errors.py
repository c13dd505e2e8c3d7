"""Everything that SessionBat raises on purpose, as one tree with slugs.

SessionBatError
├── ConfigurationError (ValueError)    the client, or the server's settings, cannot work as given
├── StoreError                         the store's file cannot be used
└── ImportFileError                    a file to import cannot be read

Each message says what happened, then what to do, then its slug, which has an entry in
``docs/messages.md``. No message holds a key, a prompt or an answer.
"""

from __future__ import annotations


class SessionBatError(Exception):
    """Base of all errors that SessionBat raises on purpose.

    Args:
        message: What happened and what to do, in one line.
        slug: The name of its entry in ``docs/messages.md``.
    """

    def __init__(self, message: str, *, slug: str) -> None:
        super().__init__(f"{message} [{slug}]")
        self.slug = slug

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process whole: a pool that cannot unpickle an error breaks."""
        return _restored, (type(self), self.args, self.slug)


def _restored(kind: type[SessionBatError], args: tuple[object, ...], slug: str) -> SessionBatError:
    error = kind.__new__(kind, *args)
    error.args, error.slug = args, slug
    return error


class ConfigurationError(SessionBatError, ValueError):
    """What was configured cannot work; raised by constructors only, never by recording."""


class StoreError(SessionBatError):
    """The store's file cannot be opened, or holds something that is not a SessionBat store."""


class ImportFileError(SessionBatError):
    """A file to import cannot be opened, or is of a form that cannot be told."""
