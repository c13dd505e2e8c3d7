"""How a server is set up: one frozen object, checked once, before anything is opened."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from sessionbat.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server listens, where it stores, and what it takes at most.

    Raises:
        ConfigurationError: ``host`` or an allowed host is no host, or ``port`` is no port.
    """

    #: A name or address. Any but loopback needs a key in the store; ``create_app`` sees to that.
    host: str = "127.0.0.1"
    #: 0 takes a free one.
    port: int = 8787
    store_url: str = "sqlite:///sessionbat.db"
    #: Keys of an event's context by which sessions can be filtered, beside the reserved ones.
    context_keys: tuple[str, ...] = ()
    #: Further names by which requests may address the server, without port; as a proxy passes them.
    allowed_hosts: tuple[str, ...] = ()
    #: Days without activity after which a session is deleted; None keeps all.
    retention_days: float | None = None
    #: Room that the store may take before the longest idle sessions are deleted; None: any.
    max_store_bytes: int | None = None
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
        for host in (self.host, *self.allowed_hosts):
            if not _is_host(host):
                raise ConfigurationError(
                    f"{host!r} is no host; give a name or an address, without scheme and port",
                    slug="bad-host",
                )
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(
                f"port must be from 0 (any free one) to 65535, got {self.port}", slug="bad-port"
            )

    @property
    def needs_keys(self) -> bool:
        """Whether others than this machine's users are meant to reach it."""
        return not all(map(is_loopback, (self.host, *self.allowed_hosts)))


def is_loopback(host: str) -> bool:
    """Whether a host, without port and brackets, can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", text) is not None
    return True
