"""The session and interaction that are current for the code that runs: one context variable.

``client`` sets it; integrations and users' code deep in a call stack read it. It follows asyncio
tasks by itself and threads through ``contextvars.copy_context``. A generator has no context of its
own: what it entered is current in it, and, while it waits, for its reader.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, NamedTuple

from sessionbat._generators import first_of, running_generator

if TYPE_CHECKING:
    from sessionbat.client import Interaction, Session


class Current:
    """A block that was entered: its session, and its interaction when it is one's."""

    __slots__ = ("generator", "interaction", "left", "place", "session")

    def __init__(self, session: Session, interaction: Interaction | None) -> None:
        self.session = session
        self.interaction = interaction
        #: The thread and task that entered it.
        self.place = _place()
        #: The generator in which it was entered, and in which nothing else is current.
        self.generator = running_generator()
        #: Whether another thread or task has left it: then it is over wherever it was known.
        self.left = False


# The blocks around the code that runs, the innermost last. A tuple, because a copied context (a
# task, a thread) goes on with what was current when it was copied.
_current: ContextVar[tuple[Current, ...]] = ContextVar("sessionbat_current", default=())


def current() -> Current | None:
    """Get what is current here, or None outside any session."""
    blocks = [block for block in _current.get() if not block.left]
    owners = {block.generator for block in blocks if block.generator is not None}
    if owners and len(blocks) > 1:
        running = first_of(owners)
        if running is not None:
            blocks = [block for block in blocks if block.generator == running]
    return blocks[-1] if blocks else None


def enter(session: Session, interaction: Interaction | None) -> None:
    """Make something current for the code that follows in this context."""
    block = Current(session, interaction)
    _opened(session, interaction).append(block)
    _current.set((*_current.get(), block))


def leave(session: Session, interaction: Interaction | None) -> None:
    """End the innermost block of this session or interaction.

    Also below others: generators that are read in turn, and an ``ExitStack``, leave in any order.
    And from elsewhere: a generator may be closed by a task that never entered its block. No token
    is kept, so none is used in the wrong context.
    """
    opened, around = _opened(session, interaction), _current.get()
    for at in range(len(around) - 1, -1, -1):
        block = around[at]
        if block.session is session and block.interaction is interaction:
            _current.set(around[:at] + around[at + 1 :])
            # Left where it was entered, it goes on for the tasks that were started inside.
            block.left = block.place != _place()
            break
    else:
        if len(opened) != 1:
            return  # of several, nobody can say which
        block = opened[0]
        block.left = True
    with suppress(ValueError):  # left twice, by the context and its copy
        opened.remove(block)


def _place() -> tuple[int, int]:
    asyncio = sys.modules.get("asyncio")  # where it is not loaded, there is no task
    if asyncio is None or asyncio.events._get_running_loop() is None:
        return get_ident(), 0
    return get_ident(), id(asyncio.current_task())


def _opened(session: Session, interaction: Interaction | None) -> list[Current]:
    return session._opened if interaction is None else interaction._opened


def current_session() -> Session:
    """Get the session of the enclosing ``with client.session(...)``.

    Outside any, what it returns records nothing, counts it as dropped and warns once. Never None.
    """
    found = current()
    return found.session if found is not None else _nowhere().session


def current_interaction() -> Interaction:
    """Get the interaction of the enclosing ``with session.interaction(...)``.

    Within a session but outside any interaction: a new interaction of that session. Outside both,
    what it returns records nothing, counts it as dropped and warns once. Never None.
    """
    found = current()
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
