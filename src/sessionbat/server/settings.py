"""How a server is set up: one frozen object, checked once, before anything is opened."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sessionbat.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server listens, where it stores, and what it takes at most.

    Raises:
        ConfigurationError: ``host`` is not on loopback, or ``port`` is no port.
    """

    #: A loopback name or address; there are no keys yet that could guard any other.
    host: str = "127.0.0.1"
    #: 0 takes a free one.
    port: int = 8787
    store_url: str = "sqlite:///sessionbat.db"
    #: Keys of an event's context by which sessions can be filtered, beside the reserved ones.
    context_keys: tuple[str, ...] = ()
    #: Longest body of an ingestion request, after decompression.
    max_body_bytes: int = 32 * 1024 * 1024
    #: Most events in one body: a body of millions of empty objects would be an answer of gigabytes.
    max_body_events: int = 50_000
    #: Ingestion requests being read or waiting for their commit; more are answered 503.
    max_waiting_requests: int = 512
    #: Bytes of their bodies, as they came over the wire; more are answered 503.
    max_waiting_bytes: int = 128 * 1024 * 1024
    #: Seconds in which the whole body of a request has to arrive.
    body_timeout: float = 30.0
    #: Seconds in which the head of a request has to arrive, the first one from the connection on.
    head_timeout: float = 15.0
    #: Longest head of a request: its first line and its headers.
    max_head_bytes: int = 64 * 1024
    #: Open connections; beyond them the longest idle one is closed, or the new one refused.
    max_connections: int = 2048
    #: Log a line for each request, by route; never its query string.
    access_log: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without opening anything."""
        if not is_loopback(self.host):
            raise ConfigurationError(
                f"host {self.host!r} is not on loopback; this version has no keys to guard any"
                " other address, use 127.0.0.1, ::1 or localhost",
                slug="not-loopback",
            )
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(
                f"port must be from 0 (any free one) to 65535, got {self.port}", slug="bad-port"
            )


def is_loopback(host: str) -> bool:
    """Whether a host, without port and brackets, can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
