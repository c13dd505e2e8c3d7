"""The building blocks of an integration, in addition to the public API. Start here to write one.

An integration turns a library's callbacks into recording calls, without any effect on the library::

    operation = Operation(call.id, LLM, interaction_here(client))   # where it belongs
    if book.begin(operation):                                       # once, bounded
        operation.start(Clock())
        book.watch(operation)                                       # ended if its task is cancelled
        book.ask(operation, call.messages)                          # as they are now
    ...
    operation = book.end(call.id)
    if operation is not None and operation.interaction is not None:
        record(operation, operation.interaction, output=answer, **ending_of(error))

Each method that the library calls is ``@guarded``. ``tests/integration/test_kit.py`` has a complete
small integration of this form; ``langchain`` is a large one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from sessionbat._current import current
from sessionbat._encoding import Snapshot, encode_value, is_plain
from sessionbat._encoding.plain_values import to_plain
from sessionbat._host_log import host_log
from sessionbat._measure import was_cancelled
from sessionbat.integrations._book import CANCELLED, UNFINISHED, Book, book_of
from sessionbat.integrations._operation import Clock, Operation, record

if TYPE_CHECKING:
    from sessionbat.client import Interaction, Session, SessionBat

__all__ = [
    "CANCELLED",
    "UNFINISHED",
    "Book",
    "Clock",
    "Guard",
    "Here",
    "Operation",
    "Snapshot",
    "book_of",
    "encode_value",
    "ending_of",
    "guarded",
    "here",
    "interaction_here",
    "is_plain",
    "record",
    "record_abandoned",
    "to_plain",
    "was_cancelled",
]

_log = host_log


class Guard:
    """Keeps an integration's exceptions from the host: counts them, and logs the first one.

    Args:
        slug: The slug of the log line; documented in ``docs/messages.md``.
    """

    def __init__(self, *, slug: str) -> None:
        self._slug = slug
        #: The number of failures; each may have left a record incomplete.
        self.failures = 0

    def count(self, what: str, error: Exception) -> None:
        """Count a failure; its text is not logged, since it may hold a prompt."""
        self.failures += 1
        if self.failures == 1:
            _log.warning(
                "%s raised %s; a record may be incomplete; more are counted only. [%s]",
                what,
                type(error).__name__,
                self._slug,
            )

    def part(self, read: Callable[..., Any], *given: Any, otherwise: Any = None) -> Any:
        """Read one part of a record; a failure loses that part only."""
        try:
            return read(*given)
        except Exception as error:  # noqa: BLE001 - an object that cannot be read
            self.count(read.__name__, error)
            return otherwise


class _Guarded(Protocol):
    _guard: Guard


_Callback = TypeVar("_Callback", bound=Callable[..., None])


def guarded(callback: _Callback) -> _Callback:
    """Wrap a method so that its exceptions go to its object's ``_guard`` and not to the host."""

    @wraps(callback)
    def guarding(self: _Guarded, *args: Any, **kwargs: Any) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the host is protected here
            self._guard.count(callback.__name__, error)

    return cast("_Callback", guarding)


class Here(NamedTuple):
    """The current session and interaction of the running code, as objects of one client."""

    session: Session
    interaction: Interaction | None


def here(client: SessionBat) -> Here | None:
    """Get the current session and interaction of the running code; None outside any session.

    For a session of another client, only its id is used.
    """
    now = current()
    if now is None:
        return None
    session, interaction = now.session, now.interaction
    if session.client is not client:
        session = client.session(session_id=session.session_id)
        if interaction is not None:
            interaction = session.interaction(interaction_id=interaction.interaction_id)
    return Here(session, interaction)


def interaction_here(client: SessionBat) -> Interaction:
    """Get the current interaction, or create one, in the current session or in a new one."""
    now = here(client)
    if now is None:
        return client.session().interaction()
    return now.interaction if now.interaction is not None else now.session.interaction()


def ending_of(operation: Operation, error: BaseException | None) -> dict[str, Any]:
    """Return the arguments of ``record`` that tell whether an operation was cancelled or failed."""
    if was_cancelled(error):
        return {"metadata": {**operation.metadata, "status": CANCELLED}}
    return {"error": error}


def record_abandoned(operation: Operation, status: str) -> None:
    """Record an operation whose end is never reported; the usual ``abandon`` of a ``Book``."""
    if operation.interaction is not None:
        metadata = {**operation.metadata, "status": status}
        record(
            operation, operation.interaction, output=[*operation.pieces] or None, metadata=metadata
        )
