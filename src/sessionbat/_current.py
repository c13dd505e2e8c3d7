"""The session and interaction that are current for the code that runs: one context variable.

``client`` sets it; integrations and users' code deep in a call stack read it. It follows asyncio
tasks by itself and threads through ``contextvars.copy_context``.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sessionbat.client import Interaction, Session


class Current(NamedTuple):
    """What is current: a session, an interaction when one was entered, and what was so before."""

    session: Session
    interaction: Interaction | None
    before: Current | None


_current: ContextVar[Current | None] = ContextVar("sessionbat_current", default=None)


def current() -> Current | None:
    """What is current here, or None outside any session."""
    return _current.get()


def enter(session: Session, interaction: Interaction | None) -> None:
    """Make something current for the code that follows in this context."""
    _current.set(Current(session, interaction, _current.get()))


def leave(session: Session, interaction: Interaction | None) -> None:
    """Make current again what was so before.

    Where it is not current (an async generator may be closed by a task that never entered), this
    does nothing: no token is kept, so there is none to be used in the wrong context.
    """
    found = _current.get()
    if found is not None and found.session is session and found.interaction is interaction:
        _current.set(found.before)


def current_session() -> Session:
    """Get the session of the enclosing ``with client.session(...)``.

    Outside any, what it returns records nothing, counts it as dropped and warns once. Never None.
    """
    found = _current.get()
    return found.session if found is not None else _nowhere().session


def current_interaction() -> Interaction:
    """Get the interaction of the enclosing ``with session.interaction(...)``.

    Within a session but outside any interaction: a new interaction of that session. Outside both,
    what it returns records nothing, counts it as dropped and warns once. Never None.
    """
    found = _current.get()
    if found is None:
        return _nowhere().interaction
    return found.interaction if found.interaction is not None else found.session.interaction()


class _Nowhere(NamedTuple):
    session: Session
    interaction: Interaction


def _nowhere() -> _Nowhere:
    from sessionbat.client import nowhere

    session = nowhere().session(session_id="none")
    return _Nowhere(session, session.interaction(interaction_id="none"))
