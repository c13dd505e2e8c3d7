"""Interaction: one turn of a session, and the calls that record what was done in it.

Made by ``Session.interaction()``; hosts get at it as ``sessionbat.Interaction``. Each call merges
tags and context, and hands what was done to the client's ``_recorder``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sessionbat import _current
from sessionbat.event import LLM, RETRIEVAL, TOOL

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from sessionbat._measure import Measurement
    from sessionbat._session import Session
    from sessionbat.langchain import LangChainCallbackHandler


class Interaction:
    """One turn of a session; records completed observations. Made by ``session.interaction()``.

    Every recording method returns the observation's id at once, never waits and never raises.
    What is passed is encoded before the call returns: changing it afterwards changes nothing.
    """

    def __init__(
        self,
        session: Session,
        interaction_id: str,
        tags: Iterable[str] | None,
        context: Mapping[str, Any] | None,
    ) -> None:
        self._recorder = session._client._recorder
        self._session = session
        self._scope = session._scope.within_interaction(interaction_id).extended(tags, context)
        self._opened: list[_current.Current] = []

    @property
    def session(self) -> Session:
        """The session that this is a turn of."""
        return self._session

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._scope.session_id

    @property
    def interaction_id(self) -> str:
        """The id, as text."""
        return self._scope.interaction_id

    def llm(
        self,
        *,
        model: str | None = None,
        input: Any = None,
        output: Any = None,
        error: Mapping[str, Any] | str | BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        name: str | None = None,
        observation_id: str | None = None,
        started_at: datetime | float | str | None = None,
    ) -> str:
        """Record a completed model call.

        Args:
            model: Which model answered; stored as ``metadata.model``.
            input: What it was asked: any value.
            output: What it answered: any value.
            error: Why it failed: an exception, a dict or a text.
            metadata: Words about the operation: provider, finish reason.
            metrics: Numbers about it: ``latency_ms``, ``input_tokens``, ``cost_usd``.
            tags: Added to the interaction's.
            context: Merged over the interaction's.
            name: What the host calls this operation.
            observation_id: The host's own id, 1 to 128 printable ASCII characters, for no other
                observation of the session: of two with one id, a server keeps the first.
            started_at: When the call began.
        """
        return self._recorder.record(
            self._scope.extended(tags, context),
            LLM,
            observation_id,
            name,
            started_at,
            input,
            output,
            error,
            metadata,
            metrics,
            model,
        )

    def tool_call(
        self,
        *,
        tool_name: str | None = None,
        input: Any = None,
        output: Any = None,
        error: Mapping[str, Any] | str | BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        observation_id: str | None = None,
        started_at: datetime | float | str | None = None,
    ) -> str:
        """Record a completed tool call; ``tool_name`` becomes the observation's name.

        The other arguments are those of ``llm``.
        """
        return self._recorder.record(
            self._scope.extended(tags, context),
            TOOL,
            observation_id,
            tool_name,
            started_at,
            input,
            output,
            error,
            metadata,
            metrics,
        )

    def retrieval(
        self,
        *,
        query: Any = None,
        documents: Iterable[Any] | None = None,
        error: Mapping[str, Any] | str | BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        name: str | None = None,
        observation_id: str | None = None,
        started_at: datetime | float | str | None = None,
    ) -> str:
        """Record a completed document retrieval.

        Args:
            query: What was looked for; stored as ``input.query``.
            documents: What was found, best first; stored as ``output.documents``. Each usually has
                ``id``, ``title``, ``score`` and ``content`` or ``snippet``.

        The other arguments are those of ``llm``.
        """
        return self._recorder.record(
            self._scope.extended(tags, context),
            RETRIEVAL,
            observation_id,
            name,
            started_at,
            {"query": query},
            None if documents is None else {"documents": documents},
            error,
            metadata,
            metrics,
        )

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
        """Record what somebody says of this turn; it is feedback, and no observation.

        Never waits and never raises; given several times, the last counts.

        Args:
            score: A finite number, on whatever scale the app has; True is 1 and False is 0.
            label: A word to count by, ``"thumbs_up"``; at most 256 characters.
            comment: Their words; at most 8,192 characters.
            observation_id: The observation that it is about; else it is the whole turn.
            source: Who says so: ``"user"``, ``"app"``, ``"agent"``, or a word of the host's.
            tags: Added to the turn's.
            context: Merged over the turn's.

        Returns:
            The id of the feedback's own event.
        """
        return self._recorder.record_feedback(
            self._scope.extended(tags, context),
            score=score,
            label=label,
            comment=comment,
            observation_id=observation_id,
            source=source,
        )

    def measure_llm(
        self,
        *,
        model: str | None = None,
        input: Any = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        name: str | None = None,
        observation_id: str | None = None,
    ) -> Measurement:
        """Measure a model call: ``with interaction.measure_llm(...) as call: call.output = ...``.

        ``input`` is recorded as it is now, whatever happens to it inside the block.
        """
        return self._recorder.measurement(
            self._scope.extended(tags, context),
            LLM,
            name,
            input,
            metadata,
            metrics,
            observation_id,
            model,
        )

    def measure_tool_call(
        self,
        *,
        tool_name: str | None = None,
        input: Any = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        observation_id: str | None = None,
    ) -> Measurement:
        """Measure a tool call; see ``measure_llm``."""
        return self._recorder.measurement(
            self._scope.extended(tags, context),
            TOOL,
            tool_name,
            input,
            metadata,
            metrics,
            observation_id,
        )

    def measure_retrieval(
        self,
        *,
        query: Any = None,
        metadata: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        name: str | None = None,
        observation_id: str | None = None,
    ) -> Measurement:
        """Measure a retrieval; set ``output`` to the list of documents. See ``measure_llm``."""
        return self._recorder.measurement(
            self._scope.extended(tags, context),
            RETRIEVAL,
            name,
            {"query": query},
            metadata,
            metrics,
            observation_id,
        )

    def langchain_callback(
        self,
        *,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> LangChainCallbackHandler:
        """Make a LangChain handler whose every record belongs to this interaction.

        See ``SessionBat.langchain_callback``.
        """
        from sessionbat.langchain import LangChainCallbackHandler

        return LangChainCallbackHandler(
            interaction=self, tags=tags, context=context, metadata=metadata
        )

    def __copy__(self) -> Interaction:
        """A copy of what holds it goes on with the same interaction."""
        return self

    def __deepcopy__(self, memo: object) -> Interaction:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry ids, tags and context to another process, where it finds its client again."""
        from sessionbat import _pickling

        scope = self._scope
        carried = (self._session, scope.app, scope.interaction_id, scope.tags, scope.context)
        return _pickling.restore_interaction, carried

    def __enter__(self) -> Interaction:
        """Make this the current interaction of the current session for the code inside."""
        _current.enter(self._session, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make current what was so before; never waits."""
        _current.leave(self._session, self)
