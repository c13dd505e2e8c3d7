"""Session: one user's conversation, which groups interactions.

Made by ``SessionBat.session()``; hosts get at it as ``sessionbat.Session``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sessionbat import _current
from sessionbat._interaction import Interaction

if TYPE_CHECKING:
    from types import TracebackType

    from sessionbat.client import SessionBat
    from sessionbat.langchain import LangChainCallbackHandler


class Session:
    """One user's conversation: groups interactions. Made by ``client.session()``."""

    def __init__(
        self,
        client: SessionBat,
        session_id: str,
        tags: Iterable[str] | None,
        context: Mapping[str, Any] | None,
    ) -> None:
        self._client = client
        self._scope = client._scope.within_session(session_id).extended(tags, context)
        self._opened: list[_current.Current] = []

    @property
    def client(self) -> SessionBat:
        """The client that records it."""
        return self._client

    @property
    def session_id(self) -> str:
        """The id, as text."""
        return self._scope.session_id

    def interaction(
        self,
        *,
        interaction_id: object = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Interaction:
        """Begin or continue one turn: what the user asked until the AI was done.

        Args:
            interaction_id: The host's own id; made when not given, replaced when empty.
            tags: Added to the session's.
            context: Merged over the session's.
        """
        usable = self._client._recorder.usable_id(interaction_id, "interaction")
        return Interaction(self, usable, tags, context)

    def feedback(
        self,
        *,
        score: float | None = None,
        label: str | None = None,
        comment: str | None = None,
        observation_id: str | None = None,
        source: str = "user",
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """Record what somebody says of this session; it is feedback, and no observation.

        Never waits and never raises; given several times, the last counts.

        Args:
            score: A finite number, on whatever scale the app has; True is 1 and False is 0.
            label: A word to count by, ``"thumbs_up"``; at most 256 characters.
            comment: Their words; at most 8,192 characters.
            observation_id: The observation that it is about; else it is the whole session.
            source: Who says so: ``"user"``, ``"app"``, ``"agent"``, or a word of the host's.
            tags: Added to the session's.
            context: Merged over the session's.

        Returns:
            The id of the feedback's own event.
        """
        return self._client._recorder.record_feedback(
            self._scope.extended(tags, context),
            score=score,
            label=label,
            comment=comment,
            observation_id=observation_id,
            source=source,
        )

    def outcome(
        self,
        outcome: str,
        *,
        reason: str | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> str:
        """Record what the app itself knows of the session's end, as feedback of source ``"app"``.

        Never waits and never raises; said several times, the last counts.

        Args:
            outcome: ``"helped"``, ``"failed"``, or a word of the host's; at most 256 characters.
            reason: How the app knows; at most 8,192 characters.
            tags: Added to the session's.
            context: Merged over the session's.

        Returns:
            The id of its event.
        """
        return self._client._recorder.record_feedback(
            self._scope.extended(tags, context), outcome=outcome, reason=reason, source="app"
        )

    def langchain_callback(
        self,
        *,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> LangChainCallbackHandler:
        """Make a LangChain handler whose every record belongs to this session.

        Each call of a chain or agent is an interaction. See ``SessionBat.langchain_callback``.
        """
        from sessionbat.langchain import LangChainCallbackHandler

        return LangChainCallbackHandler(session=self, tags=tags, context=context, metadata=metadata)

    def __copy__(self) -> Session:
        """A copy of what holds it goes on with the same session."""
        return self

    def __deepcopy__(self, memo: object) -> Session:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry ids, tags and context to another process, where it finds its client again."""
        from sessionbat import _pickling

        scope = self._scope
        carried = (self._client, scope.app, scope.session_id, scope.tags, scope.context)
        return _pickling.restore_session, carried

    def __enter__(self) -> Session:
        """Make this the current session for the code inside."""
        _current.enter(self, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make current what was so before; never waits."""
        _current.leave(self, None)
