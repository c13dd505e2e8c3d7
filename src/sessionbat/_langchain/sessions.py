"""Which session and interaction a LangChain run belongs to.

The order: the handler's own session, what the tree has, the run's metadata, the current session,
the configuration that LangChain keeps around the run, and at last the root run's own id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from sessionbat.event import RESERVED_CONTEXT
from sessionbat.integrations._kit import here

if TYPE_CHECKING:
    from contextvars import ContextVar

    from langchain_core.runnables import RunnableConfig

    from sessionbat.client import Interaction, Session, SessionBat

    _Ambient = ContextVar[RunnableConfig | None]

SESSION_KEYS: Final = ("session_id", "thread_id", "conversation_id")

_around: _Ambient | None
try:
    from langchain_core.runnables.config import var_child_runnable_config as _around
except ImportError:  # a private name of LangChain's: without it, only its cases are missed
    _around = None


class Placement(NamedTuple):
    """Where the runs of a tree are recorded."""

    interaction: Interaction
    #: Labels and context of each record, where the interaction does not bring them.
    tags: tuple[str, ...] = ()
    context: dict[str, Any] | None = None


class Home:
    """Where one handler records, as far as it was told when it was made.

    Args:
        client: Makes the sessions that are found.
        session: The handler's own, if it has one.
        interaction: The handler's own, if it has one.
        tags: Labels of everything recorded.
        context: Context of everything recorded.
    """

    __slots__ = ("client", "context", "interaction", "session", "tags")

    def __init__(
        self,
        client: SessionBat,
        session: Session | None,
        interaction: Interaction | None,
        tags: Iterable[str] | None,
        context: Mapping[str, Any] | None,
    ) -> None:
        self.client = client
        self.session = session
        self.interaction = interaction
        self.tags = (tags,) if isinstance(tags, str) else tuple(tags or ())
        self.context = dict(context) if context else None

    def shares_trees_of(self, other: Home) -> bool:
        """Whether what this handler hears of may join a tree that another one began."""
        if self is other or (self.session is None and self.interaction is None):
            return True
        return self.session is other.session and self.interaction is other.interaction

    def place(
        self, interaction_id: str, metadata: Mapping[str, Any] | None, *, or_root: bool
    ) -> Placement | None:
        """Find where a tree of runs belongs; None as long as nothing says so.

        Args:
            interaction_id: Of the tree's interaction, where nothing else names one.
            metadata: What LangChain says about the run that begins.
            or_root: Take the root run's id where nothing is found: something is to be recorded.
        """
        if self.interaction is not None:
            return Placement(self.interaction, self.tags, self.context)
        known = metadata or {}
        if self.session is not None:
            return self._within(self.session, interaction_id, known)
        session_id = session_id_in(known)
        now = here(self.client)
        if now is not None and session_id in (None, now.session.session_id):
            if now.interaction is not None:
                return Placement(now.interaction, self.tags, self._context(known))
            return self._within(now.session, interaction_id, known)
        if session_id is None:
            if not or_root:
                return None
            session_id = session_id_around() or interaction_id
        return self._within(self.client.session(session_id=session_id), interaction_id, known)

    def _within(
        self, session: Session, interaction_id: str, metadata: Mapping[str, Any]
    ) -> Placement:
        return Placement(
            session.interaction(
                interaction_id=interaction_id,
                tags=self.tags or None,
                context=self._context(metadata),
            )
        )

    def _context(self, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
        """The handler's context, and over it what the run's metadata says of who and where."""
        said = {name: metadata[name] for name in RESERVED_CONTEXT if metadata.get(name) is not None}
        return {**(self.context or {}), **said} if said else self.context


def session_id_in(known: Mapping[str, Any]) -> str | None:
    """Get the session id that metadata or configuration names, as text."""
    for key in SESSION_KEYS:
        value = known.get(key)
        if value is None:
            continue
        if isinstance(value, str):
            if value:
                return value
        elif isinstance(value, (int, UUID)) and value is not True and value is not False:
            return str(value)
    return None


def session_id_around() -> str | None:
    """Get the session id of the configuration that LangChain keeps around the code that runs.

    That is the only place where a chain's ``configurable`` can be seen: LangChain copies it to the
    metadata in graphs only.
    """
    config = _config_around()
    configurable = config.get("configurable") if config is not None else None
    return session_id_in(configurable) if isinstance(configurable, Mapping) else None


def parent_around() -> UUID | None:
    """Get the run that the code runs inside, where LangChain did not pass it on.

    It is not passed on to a nested call with ``callbacks`` of its own, nor to the models of
    ``with_fallbacks``.
    """
    config = _config_around()
    parent = getattr(config.get("callbacks"), "parent_run_id", None) if config else None
    return parent if isinstance(parent, UUID) else None


def _config_around() -> Mapping[str, Any] | None:
    return _around.get() if _around is not None else None
