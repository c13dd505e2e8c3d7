"""Where recorded events go: the protocol, and the four transports that come with it.

The client masks and encodes; a transport takes the finished event. ``IngestionTransport`` is the
default; ``OTLPTransport`` sends to backends of others, ``MemoryTransport`` is for tests,
``StdoutTransport`` for looking. One that delivers later is a ``CountingTransport``, so that
``flush`` and ``stats`` of its client tell the truth.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from sessionbat.accounting import FlushResult, Ledger, Stats
from sessionbat.event import EncodedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sessionbat._settings import DeliveryOptions, Destination


class Transport(Protocol):
    """Takes events from a client. Three methods, each called from any thread.

    A transport that raises in ``send`` has dropped the event; the client counts it and goes on. One
    that returns from ``send`` has delivered it, unless it is a ``CountingTransport``.
    """

    def send(self, event: EncodedEvent) -> None:
        """Take one event. Returns at once: the caller is the host's own code."""

    def flush(self, timeout: float | None = 30.0) -> object:
        """Wait until everything sent before this call has arrived, at most ``timeout`` seconds."""

    def close(self, timeout: float | None = 30.0) -> object:
        """Flush, then let go of everything held. A second call does nothing."""


class CountingTransport(Transport):
    """Base of a transport that says itself what became of each event; see ``examples``.

    ``send`` adds one to ``ledger.recorded`` once it has taken an event, which is pending from then
    on, or calls ``ledger.record_dropped(reason)``. When more is known, ``ledger.deliver()`` or
    ``ledger.drop(reason)`` counts it, with ``ledger.lock`` held. ``flush`` returns when all that
    was sent before it is counted so, or the time is up; it need not return anything.

    An event that ``send`` has counted must not be raised about: the client would count it again.
    """

    def __init__(self) -> None:
        #: The counts of what was sent through this transport; the client adds what it drops or
        #: mends itself. Two clients that share a transport share them.
        self.ledger = Ledger()

    def __copy__(self) -> Self:
        """A copy of what holds it goes on with the same transport."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """As ``__copy__``."""
        return self

    def take(self, event_id: str, line: bytes) -> None:
        """Do what ``send`` does with an event's id and data.

        The client calls this one. Override it to spare each call the making of an ``EncodedEvent``.
        """
        self.send(EncodedEvent(event_id, line))

    def stats(self) -> Stats:
        """Count what became of what was sent."""
        return self.ledger.stats()


class _WorkerTransport(CountingTransport):
    """Hands events to the worker of a destination, which all its transports share."""

    def _join(self, destination: Destination, options: DeliveryOptions) -> None:
        # Here, on the caller, and not in the worker's thread: a process that forks while a thread
        # imports leaves the child with a module lock that nobody will ever release.
        from sessionbat._delivery.worker import shared_worker

        self._worker = shared_worker(destination, options)
        self._closed = False
        self._worker.join(self.ledger)

    @property
    def endpoint(self) -> str:
        """Where events go."""
        return self._worker.destination.endpoint

    @property
    def is_denied(self) -> bool:
        """Whether the endpoint takes nothing: it refuses the key, or the address is wrong.

        Events are kept and tried again once a minute, so waiting for less is no use.
        """
        return self._worker.is_denied

    def send(self, event: EncodedEvent) -> None:
        """Queue one event; never waits and never raises. Without room it is dropped and counted."""
        self.take(event.id, event.data)

    def take(self, event_id: str, line: bytes) -> None:
        """Do what ``send`` does with an event's id and data."""
        if self._closed:
            self.ledger.record_dropped("closed")
        else:
            self._worker.record(self.ledger, line)

    def flush(self, timeout: float | None = 30.0) -> FlushResult:
        """Wait until everything sent before this call is delivered or dropped.

        Takes up what earlier processes left on disk, too, and does not wait for it.

        Args:
            timeout: Longest wait in seconds. None waits as long as it takes; 0 only asks.
        """
        return self._worker.flush(self.ledger, timeout)

    def close(self, timeout: float | None = 30.0) -> FlushResult:
        """Flush and take no more; the last transport of an endpoint stops its thread.

        With what is left of ``timeout`` the last one goes on with what earlier processes left on
        disk while that goes forward, in all closings together for ``exit_timeout`` at the most.
        """
        self._closed = True
        return self._worker.leave(self.ledger, timeout)

    def stats(self) -> Stats:
        """Count what became of what was sent."""
        worker = self._worker
        return self.ledger.stats()._replace(adopted=worker.adopted(), set_aside=worker.set_aside())


class IngestionTransport(_WorkerTransport):
    """Delivers to an ingestion endpoint from a background thread.

    All transports of one endpoint and key in a process share one worker thread, which starts with
    the first event. Constructing one imports the HTTP client; nothing else does.

    Args:
        endpoint: Where to; else ``SESSIONBAT_ENDPOINT``, else the hosted endpoint. A URL without a
            path gets ``/api/v1/ingestion/events``.
        api_key: The key to send; else ``SESSIONBAT_API_KEY``. Not needed on loopback.
        app: Whose events these are: later processes of the same endpoint and app deliver what this
            one could not.
        spool: Whether events that the endpoint has not taken after 150 ms are kept on disk, in
            ``SESSIONBAT_SPOOL_DIR`` or the user's state directory.
        durability: ``"sync"`` writes each event to disk before ``send`` returns.
        exit_timeout: Seconds that the process's end may be held up at the most.

    Raises:
        ConfigurationError: The endpoint, the key or an option cannot work.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        api_key: str | None = None,
        app: str | None = None,
        spool: bool = True,
        durability: str = "memory",
        exit_timeout: float = 2.0,
    ) -> None:
        super().__init__()
        from sessionbat._settings import app_name, settle_delivery, settle_destination

        destination = settle_destination(endpoint, api_key)
        options = settle_delivery(
            spool=spool,
            durability=durability,
            exit_timeout=exit_timeout,
            app=app_name(app) if destination.api_key else "",
        )
        self._join(destination, options)

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the settings to another process, without the key: the environment there has it."""
        from sessionbat import _pickling

        return _pickling.restore_transport, (_pickling.transport_settings(self),)


class OTLPTransport(_WorkerTransport):
    """Sends events as OpenTelemetry GenAI spans to any backend, by OTLP/HTTP with JSON.

    Delivers as ``IngestionTransport`` does: from a background thread, with the spool, after a fork,
    at exit. A backend that is a SessionBat server gets the very events back. ``partial_success``
    and refused requests count as dropped, ``refused:…``.

    Args:
        endpoint: Where traces are taken, whole; else ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or
            ``OTEL_EXPORTER_OTLP_ENDPOINT``. A URL without a path gets ``/v1/traces``.
        headers: Sent with each request, for example ``{"Authorization": "Bearer …"}``; else
            ``OTEL_EXPORTER_OTLP_HEADERS``, where the endpoint is the environment's too.
        app: Whose events these are: later processes of the same endpoint and app deliver what this
            one could not. Without it, those with the same headers.
        spool: Whether events that the backend has not taken after 150 ms are kept on disk.
        exit_timeout: Seconds that the process's end may be held up at the most.

    Raises:
        ConfigurationError: The endpoint, a header or an option cannot work.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        app: str | None = None,
        spool: bool = True,
        exit_timeout: float = 2.0,
    ) -> None:
        super().__init__()
        from sessionbat._settings import app_name, headers_digest, settle_delivery, settle_otlp

        destination = settle_otlp(endpoint, headers)
        named = "" if not destination.headers else headers_digest(destination)
        options = settle_delivery(
            spool=spool,
            durability="memory",
            exit_timeout=exit_timeout,
            app=app_name(app) if app is not None and destination.headers else named,
        )
        self._join(destination, options)

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the settings to another process; headers are those of its environment."""
        from sessionbat import _pickling

        return _pickling.restore_otlp, (_pickling.otlp_settings(self),)

    @property
    def has_headers(self) -> bool:
        """Whether it sends headers of its own: those may be what lets it in."""
        return self._worker.destination.has_secret


class MemoryTransport:
    """Keeps events in memory: for tests."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything sent so far, decoded from the very bytes that would have been delivered."""
        import json

        return [json.loads(line) for line in list(self._lines)]

    def __copy__(self) -> MemoryTransport:
        """A copy of what holds it goes on with the same transport."""
        return self

    def __deepcopy__(self, memo: object) -> MemoryTransport:
        """As ``__copy__``."""
        return self

    def clear(self) -> None:
        """Forget what was sent so far."""
        self._lines.clear()

    def send(self, event: EncodedEvent) -> None:
        """Keep one event."""
        self._lines.append(event.data)

    def flush(self, timeout: float | None = 30.0) -> None:
        """Do nothing: what was sent is here."""

    def close(self, timeout: float | None = 30.0) -> None:
        """Do nothing: what was sent stays."""


class StdoutTransport:
    """Prints each event as one line of JSON: for looking while developing.

    Args:
        stream: Where to print; standard output as it is at the time of each event if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        _printing.add(self)

    def __copy__(self) -> StdoutTransport:
        """A copy of what holds it goes on with the same transport."""
        return self

    def __deepcopy__(self, memo: object) -> StdoutTransport:
        """As ``__copy__``."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Print to another process's standard output there: a stream cannot travel."""
        return StdoutTransport, ()

    def send(self, event: EncodedEvent) -> None:
        """Print one event."""
        self._write(lambda stream: stream.write(event.data.decode() + "\n"))

    def flush(self, timeout: float | None = 30.0) -> None:
        """Flush the stream."""
        self._write(lambda stream: stream.flush())

    def close(self, timeout: float | None = 30.0) -> None:
        """Flush the stream, and leave it open: it is not ours."""
        self.flush(timeout)

    def _write(self, act: Callable[[TextIO], object]) -> None:
        with self._lock:
            stream = self._stream if self._stream is not None else sys.stdout
            if stream is not None:  # there is none under pythonw
                act(stream)


_printing: weakref.WeakSet[StdoutTransport] = weakref.WeakSet()


def _renew_locks_in_child() -> None:
    # A thread that does not exist in a forked child may have been printing.
    for transport in list(_printing):
        transport._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_in_child)
