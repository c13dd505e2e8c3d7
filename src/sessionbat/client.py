"""SessionBat, Session, Interaction: the recording API. Start reading here.

A client makes sessions, a session makes interactions, an interaction records completed
observations; both record what is said of them. After construction nothing raises and nothing
waits, except ``flush`` and ``close``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from sessionbat import _current
from sessionbat.event import LLM, MAX_EVENT_BYTES, RETRIEVAL, TOOL, new_event_id
from sessionbat.transports import IngestionTransport, Transport

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from sessionbat._masking.mask import Mask, MaskOption
    from sessionbat._measure import Measurement
    from sessionbat._recorder import Recorder
    from sessionbat._scope import Scope
    from sessionbat.accounting import FlushResult, Stats
    from sessionbat.langchain import LangChainCallbackHandler


class SessionBat:
    """Records what an AI application did and delivers it to an ingestion endpoint.

    Args:
        app: The product being watched; else ``SESSIONBAT_APP``, else ``"default"``.
        api_key: Key of the endpoint; else ``SESSIONBAT_API_KEY``. Not needed on loopback.
        endpoint: Where to; else ``SESSIONBAT_ENDPOINT``, else the hosted endpoint.
        transport: Takes the events instead; then no key is needed.
        default_tags: Labels of every event of this client.
        default_context: Who and where, of every event of this client.
        spool: Whether events that the endpoint has not taken after 150 ms are kept on disk, so that
            a later process delivers them if this one cannot; see ``docs/delivery.md``.
        durability: ``"memory"``, or ``"sync"``: on disk before a recording call returns.
        exit_timeout: Seconds that the process's end may be held up for delivery at the most.
        mask: What is removed before an event is queued or written: key names and compiled patterns,
            or a function from event to event; see ``docs/masking.md``.
        sample_rate: The share of sessions that is recorded, from 0.0 to 1.0; whole sessions are in
            or out, alike in every process, and ``stats().sampled_out`` counts what is left out.
        max_event_bytes: Of a longer event the longest strings are cut, visibly.

    Raises:
        ConfigurationError: No key for a distant endpoint, or something that cannot work as given.
    """

    def __init__(
        self,
        *,
        app: str | None = None,
        api_key: str | None = None,
        endpoint: str | None = None,
        transport: Transport | None = None,
        default_tags: Iterable[str] | None = None,
        default_context: Mapping[str, Any] | None = None,
        spool: bool = True,
        durability: str = "memory",
        exit_timeout: float = 2.0,
        mask: MaskOption | None = None,
        sample_rate: float = 1.0,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        # Loaded by the first client and not by ``import sessionbat``: the encoder and what it
        # knows of types take longer to load than everything else together.
        from sessionbat._recorder import Recorder
        from sessionbat._scope import Scope
        from sessionbat._settings import (
            app_name,
            recording_enabled,
            settle_max_event_bytes,
            settle_sample_rate,
        )

        enabled = recording_enabled()
        if isinstance(mask, Iterable) and not isinstance(mask, str) and not callable(mask):
            mask = tuple(mask)  # of its own: it goes along when the client is pickled
        rules = _mask(mask)
        rate, limit = settle_sample_rate(sample_rate), settle_max_event_bytes(max_event_bytes)
        if transport is None and enabled:
            transport = IngestionTransport(
                endpoint=endpoint,
                api_key=api_key,
                app=app,
                spool=spool,
                durability=durability,
                exit_timeout=exit_timeout,
            )
        recorder = Recorder(
            transport,
            enabled=enabled,
            mask=rules,
            sample_rate=rate,
            max_event_bytes=limit,
        )
        scope = Scope(app_name(app)).extended(default_tags, default_context)
        self._begin(recorder, scope, mask)

    def _begin(self, recorder: Recorder, scope: Scope, mask: MaskOption | None) -> None:
        self._recorder = recorder
        self._scope = scope
        self._mask_option = mask
        #: Names it in a pickle, for the process where it is.
        self._token = new_event_id()
        _open_clients[self._token] = self

    def session(
        self,
        *,
        session_id: object = None,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin or continue a session: one user's conversation or thread.

        Args:
            session_id: The host's own stable id; made when not given, replaced when empty.
            tags: Added to the client's.
            context: Merged over the client's.
        """
        return Session(self, self._recorder.usable_id(session_id, "session"), tags, context)

    def langchain_callback(
        self,
        *,
        tags: Iterable[str] | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> LangChainCallbackHandler:
        """Make a handler for ``config={"callbacks": [handler]}`` of LangChain and LangGraph.

        One handler serves all threads, tasks and users: each run finds its session, see
        ``docs/langchain.md``.

        Args:
            tags: Labels of everything the handler records.
            context: Context of everything it records.
            metadata: Metadata of everything it records.

        Raises:
            ImportError: langchain-core is not installed.
        """
        from sessionbat.langchain import LangChainCallbackHandler

        return LangChainCallbackHandler(self, tags=tags, context=context, metadata=metadata)

    def on_close(self, act: Callable[[], object]) -> None:
        """Have something done when the client is closed, while it still records.

        For integrations that hold operations under way: the moment to record them unfinished.
        """
        self._recorder.before_close(act)

    def flush(self, timeout: float | None = 30.0) -> FlushResult:
        """Wait until everything recorded so far is delivered or dropped.

        Safe from any thread; recording goes on meanwhile and is not waited for.

        Args:
            timeout: Longest wait in seconds. None waits as long as it takes; 0 only asks.

        Returns:
            Counts of delivered, pending, spooled and dropped; truthy when all was delivered.
        """
        return self._recorder.flush(timeout)

    async def aflush(self, timeout: float | None = 30.0) -> FlushResult:
        """Do the same as ``flush`` without holding up the event loop."""
        # It imports asyncio: 20 ms that only those pay who have loaded it already.
        from sessionbat._async_flush import flushed

        return await flushed(self.flush, timeout)

    def close(self, timeout: float | None = 30.0) -> FlushResult:
        """Flush, then take no more: what is recorded afterwards is counted as dropped.

        Closing twice is closing once. The transport is closed with its client.
        """
        return self._recorder.close(timeout)

    def stats(self) -> Stats:
        """Count what became of everything recorded; see ``Stats``. Never waits."""
        return self._recorder.stats()

    def __copy__(self) -> SessionBat:
        """A copy of what holds it goes on with the same client."""
        return self

    def __deepcopy__(self, memo: object) -> SessionBat:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the settings to another process, without the key; see ``docs/recording.md``."""
        if self is nowhere():
            return nowhere, ()
        from sessionbat import _pickling

        settings = _pickling.settings_of(self)
        carried = (self._token, settings, self._scope.tags, self._scope.context)
        return _pickling.restore_client, carried

    def __enter__(self) -> SessionBat:
        """Use the client for a block; it is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


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


def _mask(option: MaskOption | None) -> Mask | None:
    if option is None:
        return None
    from sessionbat._masking.mask import Mask

    return Mask(option)


@lru_cache(maxsize=1)
def nowhere() -> SessionBat:
    """Get the client behind ``current_session()`` outside any session."""
    from sessionbat._recorder import RefusingTransport

    refusing = RefusingTransport("no-session", "there is no current session")
    return SessionBat(app="none", transport=refusing)


_open_clients: WeakValueDictionary[str, SessionBat] = WeakValueDictionary()


def open_clients() -> WeakValueDictionary[str, SessionBat]:
    """Get every client of this process that somebody still holds, by its token."""
    return _open_clients
