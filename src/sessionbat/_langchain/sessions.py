"""Which session and interaction a LangChain run belongs to.

The order: the handler's own session, what the tree has, the run's metadata, the current session,
the configuration that LangChain keeps around the run, and at last the root run's own id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sessionbat._current import current
from sessionbat.event import RESERVED_CONTEXT

if TYPE_CHECKING:
    from contextvars import ContextVar

    from langchain_core.runnables import RunnableConfig

    from sessionbat._langchain.runs import RunBook, Tree
    from sessionbat.client import Interaction, Session, SessionBat

    _Ambient = ContextVar[RunnableConfig | None]

SESSION_KEYS: Final = ("session_id", "thread_id", "conversation_id")

_around: _Ambient | None
try:
    from langchain_core.runnables.config import var_child_runnable_config as _around
except ImportError:  # a private name of LangChain's: without it, only its cases are missed
    _around = None


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

    def settle(
        self,
        book: RunBook,
        tree: Tree,
        metadata: Mapping[str, Any] | None,
        *,
        or_root: bool,
    ) -> None:
        """Find the interaction of a tree; what is found first holds for the whole tree.

        Args:
            book: Knows the interrupted interactions.
            tree: Gets its ``interaction``.
            metadata: What LangChain says about the run that begins.
            or_root: Take the root run's id where nothing is found: something is to be recorded.
        """
        interaction = self.interaction
        if interaction is not None:
            tree.tags, tree.context = self.tags, self.context
        elif self.session is not None:
            interaction = self._within(self.session, tree, metadata)
        else:
            interaction = self._found(tree, metadata or {}, or_root=or_root)
        if interaction is None:
            return
        tree.interaction = interaction
        if tree.resuming:
            earlier = book.interrupted.take(interaction.session_id)
            tree.resumes = earlier if earlier != interaction.interaction_id else None

    def _found(
        self, tree: Tree, metadata: Mapping[str, Any], *, or_root: bool
    ) -> Interaction | None:
        session_id = session_id_in(metadata)
        now = current()
        if now is not None and session_id in (None, now.session.session_id):
            return self._current(now.session, now.interaction, tree, metadata)
        if session_id is None:
            if not or_root:
                return None
            session_id = session_id_around()
        session = self.client.session(session_id=session_id or tree.interaction_id)
        return self._within(session, tree, metadata)

    def _current(
        self,
        session: Session,
        interaction: Interaction | None,
        tree: Tree,
        metadata: Mapping[str, Any],
    ) -> Interaction:
        if session.client is not self.client:  # known here by its id only
            session = self.client.session(session_id=session.session_id)
            if interaction is not None:
                tree.interaction_id = interaction.interaction_id
        elif interaction is not None:
            tree.tags, tree.context = self.tags, self._context(metadata)
            return interaction
        return self._within(session, tree, metadata)

    def _within(
        self, session: Session, tree: Tree, metadata: Mapping[str, Any] | None
    ) -> Interaction:
        return session.interaction(
            interaction_id=tree.interaction_id,
            tags=self.tags or None,
            context=self._context(metadata or {}),
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
