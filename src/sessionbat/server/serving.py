"""Runs the server: in the foreground for ``sessionbat serve``, or in a thread for demo and tests.

The address is bound and the store opened before anything runs, so a problem with either is a single
error that leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn

from sessionbat._version import __version__
from sessionbat.errors import ConfigurationError
from sessionbat.server.app import create_app
from sessionbat.server.ops.memory import give_back_memory
from sessionbat.server.ops.server_metrics import Measures
from sessionbat.server.settings import Settings
from sessionbat.server.web.connection_limits import ConnectionGuard, guarded_protocol
from sessionbat.server.web.file_limit import check_file_limit, raise_file_limit
from sessionbat.server.web.shutdown import Stopping

_log = logging.getLogger("sessionbat.server")

# How long shutdown waits for requests in progress, then for connections to read their answers, in
# seconds.
_STOP_TIMEOUT: Final = 10
_CLOSE_TIMEOUT: Final = 2
# Longer than the SDK leaves a connection unused, so that the server is not the one to close it.
_KEEP_ALIVE: Final = 75
_BACKLOG: Final = 1024
_SWITCH_INTERVAL: Final = 0.0005  # seconds
_COLLECT_AFTER: Final = 20_000  # objects


def serve(settings: Settings, announce: bool = True) -> None:
    """Serve until Ctrl-C or SIGTERM, then answer all accepted requests and return.

    Call it in the main thread.

    Args:
        settings: The server's settings.
        announce: Print the address once the server answers, for a person; else log start and stop.

    Raises:
        ConfigurationError: The address cannot be listened on, the store URL is unknown, or too few
            files may be open.
        StoreError: The store cannot be used.
    """
    raise_file_limit()
    check_file_limit()
    with _listening(settings) as listener:
        server = _Server(settings)
        _tune_interpreter()
        started = time.monotonic()
        url = _url(listener, settings)
        server.on_ready = lambda: _say_ready(url, settings, announce)
        server.run([listener])
        if not announce:
            _log.info("stopped after %.0f s [stopped]", time.monotonic() - started)


def _say_ready(url: str, settings: Settings, announce: bool) -> None:
    if announce:
        print(f"SessionBat serves {url} from {settings.store_url} (Ctrl-C stops it)", flush=True)
    else:
        fields = {"url": url, "store": settings.store_url, "version": __version__}
        _log.info("serves %s [started]", url, extra={"fields": fields})


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve in a thread of this process while the block runs; yields the base URL.

    On exit, accepted requests are answered and the store is closed.

    Raises:
        ConfigurationError: The address cannot be listened on, the store URL is unknown, or too few
            files may be open.
        StoreError: The store cannot be used.
    """
    check_file_limit()
    with _listening(settings) as listener:
        server = _Server(settings)
        url = _url(listener, settings)
        ready = threading.Event()
        server.on_ready = ready.set
        thread = threading.Thread(
            target=_run, args=(server, listener, ready), name="sessionbat-server", daemon=True
        )
        thread.start()
        ready.wait()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """uvicorn with a callback when it is ready; after a signal it returns and does not re-raise."""

    def __init__(self, settings: Settings) -> None:
        self._stopping = Stopping()
        measures = Measures()
        super().__init__(
            uvicorn.Config(
                create_app(settings, self._stopping, measures),
                http=guarded_protocol(ConnectionGuard(settings, measures)),
                access_log=False,
                log_config=None,
                log_level="error",  # it warns of each request that is no HTTP; we count them
                ws="none",
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_CLOSE_TIMEOUT,
            )
        )
        self.on_ready: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.begin()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.tell()
        await self._finish()
        await super().shutdown(sockets)

    async def _finish(self) -> None:
        """Finish the requests in progress, while new ones are answered 503."""
        under_way = set(self.server_state.tasks)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while under_way and not self.force_exit and time.monotonic() < deadline:
            _, under_way = await asyncio.wait(under_way, timeout=0.1)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _tune_interpreter() -> None:
    """Tune the interpreter for two busy threads: one answers, the other stores."""
    # How long a thread that wants to run waits for one that runs; at 5 ms, the default, whoever
    # asks for a page during ingestion waits longest for that.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # A batch of events is some ten thousand objects, none of them in a cycle: at 700, the default,
    # the collector looks at them again and again.
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    give_back_memory()


def _run(server: _Server, listener: socket.socket, ready: threading.Event) -> None:
    try:
        server.run([listener])
    finally:
        ready.set()  # also when it could not start: nobody waits for ever


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without, each answer
    # waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
            listener.listen(_BACKLOG)
        except OSError as exc:
            raise _cannot_listen(settings, exc) from exc
        yield listener


def _cannot_listen(settings: Settings, exc: OSError) -> ConfigurationError:
    if exc.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"port {settings.port} on {settings.host} is in use; stop what listens there or"
            " choose another port (0 takes a free one)",
            slug="port-in-use",
        )
    return ConfigurationError(
        f"cannot listen on {settings.host} port {settings.port}: {exc.strerror}; choose another"
        " host or port",
        slug="cannot-listen",
    )


def _url(listener: socket.socket, settings: Settings) -> str:
    """Return a URL that can be opened, even when the server listens on all addresses."""
    host, port = listener.getsockname()[:2]
    host = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
