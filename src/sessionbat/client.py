"""SessionBat, Session, Interaction: the recording API. Start reading here.

A client makes sessions (``_session``), a session makes interactions, an interaction records
completed observations (``_interaction``); both record what is said of them. After construction
nothing raises and nothing waits, except ``flush`` and ``close``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from sessionbat._interaction import Interaction
from sessionbat._session import Session
from sessionbat.event import MAX_EVENT_BYTES, new_event_id
from sessionbat.transports import IngestionTransport, Transport

if TYPE_CHECKING:
    from types import TracebackType

    from sessionbat._masking.mask import Mask, MaskOption
    from sessionbat._recorder import Recorder
    from sessionbat._scope import Scope
    from sessionbat.accounting import FlushResult, Stats
    from sessionbat.langchain import LangChainCallbackHandler

__all__ = ["Interaction", "Session", "SessionBat", "nowhere", "open_clients"]


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


def _mask(option: MaskOption | None) -> Mask | None:
    if option is None:
        return None
    from sessionbat._masking.mask import Mask

    return Mask(option)


@lru_cache(maxsize=1)
def nowhere() -> SessionBat:
    """Get the client behind ``current_session()`` outside any session."""
    from sessionbat._refusing import RefusingTransport

    refusing = RefusingTransport("no-session", "there is no current session")
    return SessionBat(app="none", transport=refusing)


_open_clients: WeakValueDictionary[str, SessionBat] = WeakValueDictionary()


def open_clients() -> WeakValueDictionary[str, SessionBat]:
    """Get every client of this process that somebody still holds, by its token."""
    return _open_clients
