"""Connections that are not used as they are meant; most of them without any key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

PATH = "/api/v1/ingestion/events"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def head(method: str = "POST", path: str = PATH, *fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]
    return "\r\n".join(lines).encode()


def hold(port: int, until: threading.Event, count: int, first: bytes) -> Iterator[int]:
    """Open so many, send the same on each, and wait; those that are closed are opened again.

    Gives how many were opened so far, at first and each second.
    """
    with ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(count)]
        opened = count
        while True:
            for connection in held:
                with suppress(OSError):
                    connection.sendall(first)
            yield opened
            if until.wait(1.0):
                return
            for place, connection in enumerate(held):
                if _is_closed(connection):
                    connection.close()
                    held[place] = stack.enter_context(connect(port))
                    opened += 1


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(65_536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        with suppress(OSError):
            connection.settimeout(10)


def pour(port: int, until: threading.Event, start: bytes, piece: bytes) -> str:
    """Send a head and the same piece of a body until the connection ends, and say why it did."""
    with suppress(ConnectionError), connect(port) as connection:
        connection.sendall(start)
        while not until.is_set():
            connection.sendall(piece)
        return "poured"
    return "closed"


def send(port: int, data: bytes) -> int:
    """Send all and give the status of the answer."""
    with connect(port) as connection:
        connection.sendall(data)
        answer = connection.recv(65_536)
        return int(answer.split()[1]) if answer else 0


def leave_unread(port: int, until: threading.Event, request: bytes) -> None:
    """Ask for much and read nothing of it for two seconds."""
    with suppress(OSError), connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request)
        until.wait(2)
