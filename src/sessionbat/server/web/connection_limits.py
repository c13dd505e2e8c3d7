"""Connection limits that uvicorn does not have: time and size of heads, slow readers, total number.

uvicorn's protocol waits without limit for the rest of a head, accepts heads of any length and any
number of connections, and keeps unread answers for ever. This subclass ends such connections. Each
connection has one timer, and work is done once a request rather than once a byte where possible.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sessionbat.server.background import Seldom
from sessionbat.server.ops.server_metrics import Measures
from sessionbat.server.settings import Settings
from sessionbat.server.web.file_limit import files_for_connections
from sessionbat.server.web.refusal import Refused

#: Headers of one request; a browser sends twenty.
MAX_HEADERS: Final = 256
#: A body may come in so many pieces, and in one more for each so many bytes: each costs the event
#: loop a microsecond or two, and 200 KB in chunks of one byte kept it busy for 25 ms.
MAX_PIECES: Final = 512
BYTES_A_PIECE: Final = 256
#: Seconds in which the rest of a body has to arrive that was refused before it was read.
LINGER: Final = 10.0
#: An answer has to be taken at this rate, looked at each so many seconds.
MIN_BYTES_A_SECOND: Final = 4096
LOOK_EACH: Final = 10.0
#: Bytes of answers that wait to be read, of all connections together; the longest waiting one goes.
MAX_UNREAD_BYTES: Final = 64 * 1024 * 1024

_log = logging.getLogger("sessionbat.server")


class ConnectionGuard:
    """State shared by the connections of a server; used by its event loop only.

    Args:
        settings: The limits on connections and heads.
        measures: Counts the connections that were ended.
    """

    def __init__(self, settings: Settings, measures: Measures) -> None:
        self.head_timeout = settings.head_timeout
        self.max_head_bytes = settings.max_head_bytes
        self.max_connections = min(settings.max_connections, files_for_connections())
        #: Between requests, the longest idle first.
        self.idle: dict[GuardedProtocol, None] = {}
        #: In the middle of a request's head, the one that began first first.
        self.in_head: dict[GuardedProtocol, None] = {}
        #: With more to be read than is taken, the longest waiting first.
        self.unread: dict[GuardedProtocol, None] = {}
        self._refused = measures.connections_refused
        self._log = Seldom(_log, "ended-connections", "ended %d connections: %s")

    def note(self, slug: str) -> None:
        """Count and log a connection that was ended."""
        self._refused.add(1, slug)
        self._log.note(slug)

    def make_room(self) -> bool:
        """Close the connection that has waited longest for a request; False when none waits.

        Idle ones go first, then those that have sent part of a head. A healthy client sends a head
        at once, so a client with many half-sent heads loses them and cannot keep others out.
        """
        for waiting in (self.idle, self.in_head):
            for longest in waiting:
                del waiting[longest]
                longest.end("too-many-connections")
                return True
        return False

    def bound_unread(self) -> None:
        """End connections while unread answers take too much memory; the last one may stay."""
        while len(self.unread) > 1 and sum(map(_unread_bytes, self.unread)) > MAX_UNREAD_BYTES:
            longest = next(iter(self.unread))
            del self.unread[longest]
            longest.end("slow-reader")


def guarded_protocol(guard: ConnectionGuard) -> type[asyncio.Protocol]:
    """Make a protocol factory for connections that share a guard."""
    return type("GuardedProtocol", (GuardedProtocol,), {"guard": guard})


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on every wait."""

    guard: ClassVar[ConnectionGuard]

    if TYPE_CHECKING:
        connections: set[Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._head_bytes = 0
        self._pieces = self._body_bytes = 0
        self._goes_on = False  # with a request whose head was read by another parser
        self._refusal: Refused | None = None
        self._waits_for = ""  # what the timer is for: head, rest; empty when it does not run
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes of an answer when its reader was last looked at
        self._reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a new connection, if there is room."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > self.guard.max_connections and not self.guard.make_room():
            self._refuse(_too_many())
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop tracking a closed connection."""
        self.guard.idle.pop(self, None)
        self.guard.in_head.pop(self, None)
        self._wait_for("")
        self._stop_looking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received data."""
        self.guard.idle.pop(self, None)
        if self._in_head:
            self._head_bytes += len(data)
        self._parse(data)
        if self._in_head and self._head_bytes > self.guard.max_head_bytes:
            self._refuse(_head_too_large(self.guard.max_head_bytes))
        self._watch()

    def _parse(self, data: bytes) -> None:
        """Parse like uvicorn, but continue when a request asks for a protocol upgrade."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the body of a request whose upgrade is ignored (RFC 9110, 7.8).

        The parser treats everything after such a head as the other protocol, so it is replaced by a
        new one that gets the length of the body.
        """
        framing = [
            b"%b: %b\r\n" % header
            for header in self.headers
            if header[0] in (b"content-length", b"transfer-encoding")
        ]
        self.parser = httptools.HttpRequestParser(self)
        self._goes_on = True
        self._parse(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
        self._goes_on = False
        if rest and not self.transport.is_closing():
            self._parse(rest)

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Note the start of a request."""
        if self._goes_on:
            return
        self._in_head = True
        self._pieces = self._body_bytes = 0
        self._head_bytes = 0
        self._read_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Receive part of the request's address."""
        if self._goes_on:
            return
        self._read(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive one of its headers."""
        if self._goes_on:
            return
        self._read(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = _too_many_headers()
            raise self._refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is complete; later timeouts are elsewhere."""
        if self._goes_on:
            return
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a piece of its body."""
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > MAX_PIECES + self._body_bytes // BYTES_A_PIECE:
            self._refusal = _too_many_pieces()
            raise self._refusal
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the body is complete, unless the parser only expects another protocol."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _read(self, size: int) -> None:
        """Count bytes of the head, so that one that arrives at once is limited too."""
        self._read_bytes += size
        if self._read_bytes > self.guard.max_head_bytes:
            self._refusal = _head_too_large(self.guard.max_head_bytes)
            raise self._refusal  # ends the parsing; `send_400_response` is what follows

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP, or a head that is too long."""
        self._refuse(self._refusal or _not_http())

    # Waiting

    def on_response_complete(self) -> None:
        """Note that an answer was sent."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Start the timer for the current wait, if it is not running."""
        if self._in_head:
            self.guard.in_head.setdefault(self)
        else:
            self.guard.in_head.pop(self, None)
        if self.transport.is_closing():
            self._wait_for("")
        elif self.cycle is not None and not self.cycle.response_complete:
            self._wait_for("")  # a request is being answered; who answers it has a timeout
        elif self._in_head:
            self._wait_for("head")
        elif self.cycle is not None and self.cycle.more_body:
            self._wait_for("rest")
        else:
            self._wait_for("head" if self.cycle is None else "")
            self._be_idle()

    def _be_idle(self) -> None:
        self.guard.idle[self] = None
        # uvicorn's own timer, which bytes that begin no request have stopped.
        if self.cycle is not None and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that was idle for too long."""
        # Not `close`: that waits until the last answer is read.
        self.transport.abort()

    def _wait_for(self, what: str) -> None:
        if what == self._waits_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        seconds = {"head": self.guard.head_timeout, "rest": LINGER}.get(what)
        self._waits_for = what
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._waits_for == "head" and self._in_head:
            self._refuse(_slow_head(self.guard.head_timeout))
        else:
            self.end("idle" if self._waits_for == "head" else "slow-body")

    # Slow readers

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than the answer is written."""
        super().pause_writing()
        if self._reader_timer is None:
            self._look()
            self.guard.unread[self] = None
        self.guard.bound_unread()

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._stop_looking()
        super().resume_writing()

    def _look(self) -> None:
        """Record the unread bytes; end the connection if too few were read since last time."""
        unread = self.transport.get_write_buffer_size()
        is_slow = self._unread - unread < MIN_BYTES_A_SECOND * LOOK_EACH
        if self._reader_timer is not None and is_slow:
            self.end("slow-reader")
            return
        self._unread = unread
        self._reader_timer = self.loop.call_later(LOOK_EACH, self._look)

    def _stop_looking(self) -> None:
        self.guard.unread.pop(self, None)
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    # Ends

    def end(self, slug: str) -> None:
        """Close at once, without an answer."""
        if slug != "idle":
            self.guard.note(slug)
        self.transport.abort()

    def _refuse(self, refused: Refused) -> None:
        """Answer instead of the application, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.end(refused.slug)  # in the middle of another answer there is no room for one
            return
        self.guard.note(refused.slug)
        body = orjson.dumps(refused.content())
        head = [
            STATUS_LINE[refused.status],
            *(f"{name}: {value}\r\n".encode() for name, value in refused.headers.items()),
            b"content-type: application/json\r\nconnection: close\r\n",
            b"content-length: %d\r\n\r\n" % len(body),
        ]
        self.transport.write(b"".join((*head, body)))
        self.transport.close()


def _unread_bytes(connection: GuardedProtocol) -> int:
    return connection.transport.get_write_buffer_size()


def _too_many() -> Refused:
    return Refused(
        503,
        "too-many-connections",
        "the server has reached its limit of connections; try again",
        headers={"Retry-After": "1"},
    )


def _head_too_large(limit: int) -> Refused:
    return Refused(
        431, "head-too-large", f"the address and headers are longer than {limit} bytes; send fewer"
    )


def _too_many_headers() -> Refused:
    return Refused(431, "head-too-large", f"there are more than {MAX_HEADERS} headers; send fewer")


def _too_many_pieces() -> Refused:
    return Refused(
        400,
        "tiny-chunks",
        f"the body comes in chunks of less than {BYTES_A_PIECE} bytes; send larger ones",
    )


def _slow_head(seconds: float) -> Refused:
    return Refused(408, "slow-head", f"the head did not arrive within {seconds:g} s; send it again")


def _not_http() -> Refused:
    return Refused(400, "not-http", "the data received is not valid HTTP")
