"""SessionBat, Session, Interaction: the recording API. Start reading here.

A client makes sessions, a session makes interactions, an interaction records completed
observations. After construction nothing raises and nothing waits, except ``flush`` and ``close``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

from sessionbat import _current, _settings
from sessionbat._encoding import Snapshot, encode_event
from sessionbat._measure import Measurement
from sessionbat._scope import Scope
from sessionbat._well_formed import error_object, rfc3339, split_metrics, usable_id, with_model
from sessionbat.accounting import FlushResult, Ledger, Stats
from sessionbat.event import (
    LLM,
    MAX_EVENT_BYTES,
    RETRIEVAL,
    TOOL,
    EncodedEvent,
    is_event_id,
    new_event_id,
)
from sessionbat.transports import IngestionTransport, Transport

_log = logging.getLogger("sessionbat")


class SessionBat:
    """Records what an AI application did and delivers it to an ingestion endpoint.

    Args:
        app: The product being watched; else ``SESSIONBAT_APP``, else ``"default"``.
        api_key: Key of the endpoint; else ``SESSIONBAT_API_KEY``. Not needed on loopback.
        endpoint: Where to; else ``SESSIONBAT_ENDPOINT``, else the hosted endpoint.
        transport: Takes the events instead; then no key is needed.
        default_tags: Labels of every event of this client.
        default_context: Who and where, of every event of this client.

    Raises:
        ConfigurationError: No key for a distant endpoint, or an endpoint or key that cannot work.
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
    ) -> None:
        self._enabled = _settings.recording_enabled()
        if transport is None and self._enabled:
            transport = IngestionTransport(endpoint=endpoint, api_key=api_key)
        self._transport = transport
        # A transport with a ledger says itself what became of an event; of any other, an event
        # that was taken without an exception counts as delivered.
        ledger = getattr(transport, "ledger", None)
        self._counts_itself = isinstance(ledger, Ledger)
        self._ledger = ledger if isinstance(ledger, Ledger) else Ledger()
        self._closed = False
        self._scope = Scope(_settings.app_name(app)).extended(default_tags, default_context)

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
        return Session(self, self._usable_id(session_id, "session"), tags, context)

    def flush(self, timeout: float | None = 30.0) -> FlushResult:
        """Wait until everything recorded so far is delivered or dropped.

        Safe from any thread; recording goes on meanwhile and is not waited for.

        Args:
            timeout: Longest wait in seconds. None waits as long as it takes; 0 only asks.

        Returns:
            Counts of delivered, pending, spooled and dropped; truthy when all was delivered.
        """
        return self._wait_for("flush", timeout)

    async def aflush(self, timeout: float | None = 30.0) -> FlushResult:
        """Do the same as ``flush`` without holding up the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = 30.0) -> FlushResult:
        """Flush, then take no more: what is recorded afterwards is counted as dropped.

        Closing twice is closing once. The transport is closed with its client.
        """
        if self._closed:
            return self._wait_for("flush", 0)
        self._closed = True
        return self._wait_for("close", timeout)

    def stats(self) -> Stats:
        """Count what became of everything recorded; see ``Stats``. Never waits."""
        return self._ledger.stats()

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

    def _wait_for(self, what: str, timeout: float | None) -> FlushResult:
        try:
            answer = getattr(self._transport, what)(timeout) if self._transport else None
        except Exception as error:  # noqa: BLE001 - the transport may be the host's own
            self._mend("transport-error", f"the transport's {what} raised {type(error).__name__}")
            answer = None
        if isinstance(answer, FlushResult):
            return answer
        stats = self._ledger.stats()
        dropped = sum(stats.dropped.values())
        return FlushResult(stats.delivered, stats.pending, stats.spooled, dropped)

    def _record(
        self,
        scope: Scope,
        kind: str,
        event_id: str,
        name: str | None,
        started_at: datetime | float | str | None,
        input: Any,
        output: Any,
        error: Any,
        metadata: Any,
        metrics: Any,
    ) -> None:
        """Encode one observation and hand it to the transport. Never raises."""
        if not self._enabled:
            return
        if self._closed or self._transport is None:
            self._drop("closed", "the client is closed")
            return
        try:
            if metrics:
                metrics, metadata = split_metrics(metrics, metadata)
            observation = {
                "kind": kind,
                "name": name,
                "started_at": started_at if started_at is None else rfc3339(started_at),
                "input": input,
                "output": output,
                "error": error if error is None else error_object(error),
                "metadata": metadata or {},
                "metrics": metrics or {},
            }
            envelope = {
                "type": kind,
                "id": event_id,
                "created_at": datetime.now(UTC),
                "app": scope.app,
                "session_id": scope.session_id,
                "interaction_id": scope.interaction_id,
                "tags": scope.tags_json,
                "context": scope.context_json,
            }
            line = encode_event(envelope, observation, MAX_EVENT_BYTES)
        except Exception as failure:  # noqa: BLE001 - the host is protected here
            self._drop("not-encoded", f"encoding raised {type(failure).__name__}")
            return
        self._send(EncodedEvent(event_id, line))

    def _send(self, event: EncodedEvent) -> None:
        assert self._transport is not None
        try:
            self._transport.send(event)
        except Exception as error:  # noqa: BLE001 - the transport may be the host's own
            self._drop("transport-error", f"the transport raised {type(error).__name__}")
            return
        if not self._counts_itself:
            with self._ledger.lock:
                self._ledger.recorded += 1
                self._ledger.deliver()

    def _usable_id(self, given: object, what: str) -> str:
        text = usable_id(given)
        if text is None:
            if given is not None:
                self._mend(f"bad-{what}-id", f"a {what} id was empty or unusable; one was made")
            return new_event_id()
        return text

    def _event_id(self, given: str | None) -> str:
        if given is None:
            return new_event_id()
        if is_event_id(given):
            return given
        return self._usable_event_id(given)

    def _usable_event_id(self, given: object) -> str:
        text = usable_id(given)
        if text is not None and is_event_id(text):
            return text
        self._mend("bad-observation-id", "an observation id was unusable; one was made")
        return new_event_id()

    def _drop(self, reason: str, message: str) -> None:
        if self._ledger.record_dropped(reason):
            _log.warning("dropped an event: %s; more are counted only. [%s]", message, reason)

    def _mend(self, reason: str, message: str) -> None:
        if self._ledger.mend(reason):
            _log.warning("%s; more are counted only. [%s]", message, reason)


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
        usable = self._client._usable_id(interaction_id, "interaction")
        return Interaction(self, usable, tags, context)

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
        self._client = session._client
        self._session = session
        self._scope = session._scope.within_interaction(interaction_id).extended(tags, context)

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
            observation_id: The host's own id, 1 to 128 printable ASCII characters.
            started_at: When the call began.
        """
        client = self._client
        event_id = client._event_id(observation_id)
        scope = self._scope.extended(tags, context)
        client._record(
            scope,
            LLM,
            event_id,
            name,
            started_at,
            input,
            output,
            error,
            with_model(metadata, model),
            metrics,
        )
        return event_id

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
        client = self._client
        event_id = client._event_id(observation_id)
        scope = self._scope.extended(tags, context)
        client._record(
            scope, TOOL, event_id, tool_name, started_at, input, output, error, metadata, metrics
        )
        return event_id

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
        client = self._client
        event_id = client._event_id(observation_id)
        scope = self._scope.extended(tags, context)
        output = None if documents is None else {"documents": documents}
        client._record(
            scope,
            RETRIEVAL,
            event_id,
            name,
            started_at,
            {"query": query},
            output,
            error,
            metadata,
            metrics,
        )
        return event_id

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
        metadata = with_model(metadata, model)
        return self._measure(
            LLM, name, Snapshot(input), metadata, metrics, tags, context, observation_id
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
        return self._measure(
            TOOL, tool_name, Snapshot(input), metadata, metrics, tags, context, observation_id
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
        asked = Snapshot({"query": query})
        return self._measure(
            RETRIEVAL, name, asked, metadata, metrics, tags, context, observation_id
        )

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

    def _measure(
        self,
        kind: str,
        name: str | None,
        input: Snapshot,
        metadata: Mapping[str, Any] | None,
        metrics: Mapping[str, float] | None,
        tags: Iterable[str] | None,
        context: Mapping[str, Any] | None,
        observation_id: str | None,
    ) -> Measurement:
        scope = self._scope.extended(tags, context)

        def record(call: Measurement) -> None:
            output = call.output
            if kind == RETRIEVAL and output is not None:
                output = {"documents": output}
            self._client._record(
                scope,
                kind,
                call.id,
                name,
                call.started_at,
                input,
                output,
                call.error,
                call.metadata,
                call.metrics,
            )

        return Measurement(
            record,
            id=self._client._event_id(observation_id),
            metadata=_own_dict(metadata),
            metrics=_own_dict(metrics),
        )


def _own_dict(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else {}


class _Nowhere:
    """The transport outside any session: takes nothing, so that the client counts every event."""

    def send(self, event: EncodedEvent) -> None:
        raise LookupError("no current session")

    def flush(self, timeout: float | None = 30.0) -> None:
        return None

    def close(self, timeout: float | None = 30.0) -> None:
        return None


@lru_cache(maxsize=1)
def nowhere() -> SessionBat:
    """Get the client behind ``current_session()`` outside any session."""
    return SessionBat(app="none", transport=_Nowhere())
