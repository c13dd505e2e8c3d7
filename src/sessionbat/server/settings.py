"""The server's settings: one frozen object, validated before anything is opened."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sessionbat.errors import ConfigurationError

#: The prefix of each address on a page.
MAX_ROOT_PATH_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's address, store and limits.

    Raises:
        ConfigurationError: ``host``, an allowed host, ``port``, the root path or a trusted proxy is
            not valid.
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
    #: The path below which a proxy shows the server, such as ``/bat``; empty for none.
    root_path: str = ""
    #: Addresses and networks of proxies whose ``X-Forwarded-...`` headers are believed.
    trusted_proxies: tuple[str, ...] = ()
    #: Days without activity after which a session is deleted; None keeps all.
    retention_days: float | None = None
    #: Room that the store may take before the longest idle sessions are deleted; None: any.
    max_store_bytes: int | None = None
    #: A file with prices of one's own, by which costs are estimated; None: the table that ships.
    prices: Path | None = None
    #: Longest body of an ingestion request, after decompression.
    max_body_bytes: int = 32 * 1024 * 1024
    #: Most events in one body: a body of millions of empty objects would be an answer of gigabytes.
    max_body_events: int = 50_000
    #: Ingestion requests being read or waiting for their commit; more are answered 503.
    max_waiting_requests: int = 512
    #: Bytes of their bodies, as they came over the wire; more are answered 503.
    max_waiting_bytes: int = 64 * 1024 * 1024
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
        """Validate everything that needs no file or socket."""
        object.__setattr__(self, "host", _host(self.host))
        object.__setattr__(self, "allowed_hosts", tuple(map(_host, self.allowed_hosts)))
        object.__setattr__(self, "root_path", _root_path(self.root_path))
        object.__setattr__(self, "trusted_proxies", tuple(map(_network, self.trusted_proxies)))
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(
                f"port must be from 0 (any free one) to 65535, got {self.port}", slug="bad-port"
            )

    @property
    def needs_keys(self) -> bool:
        """Whether the server can be reached from beyond this machine."""
        return bool(self.beyond_loopback)

    @property
    def beyond_loopback(self) -> list[str]:
        """The hosts, names and proxies through which it can be reached from other machines."""
        hosts = [host for host in (self.host, *self.allowed_hosts) if not is_loopback(host)]
        networks = map(ipaddress.ip_network, self.trusted_proxies)
        return hosts + [str(network) for network in networks if not network.is_loopback]


def is_loopback(host: str) -> bool:
    """Whether a host, given without port and brackets, always means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def clean_root_path(text: str) -> str | None:
    """Normalize a root path, without a slash at its end; None if it is not valid.

    It is written into pages, headers and cookies, so it may have only plain segments, and must not
    begin with one of the server's own paths.
    """
    path = text.removesuffix("/")
    if not path:
        return ""
    if len(path) > MAX_ROOT_PATH_CHARACTERS or _ROOT_PATH.fullmatch(path) is None:
        return None
    return None if path.split("/")[1] in OWN_SEGMENTS else path


#: First segments of the server's own paths; a root path must not begin with one of them.
OWN_SEGMENTS: Final = frozenset(
    {"api", "feedback", "healthz", "info", "login", "logout", "metrics", "otel", "runs", "session",
     "session.json", "sessions", "sessions.json", "static", "v1"}
)  # fmt: skip
_ROOT_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def _root_path(text: str) -> str:
    path = clean_root_path(text)
    if path is None:
        raise ConfigurationError(
            f"root path {text[:200]!r} cannot be used; give a path such as '/bat', of letters,"
            " digits and ._~-, that does not begin with one of the server's own",
            slug="bad-root-path",
        )
    return path


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip("[]"), strict=False))
    except ValueError as exc:
        raise ConfigurationError(
            f"{text[:200]!r} is not a proxy's address; give an address or a network, such as"
            " 127.0.0.1 or 10.0.0.0/8",
            slug="bad-trusted-proxy",
        ) from exc


def _host(text: str) -> str:
    """Return a host without the brackets of an IPv6 address in a URL."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if inner != text and ":" in inner and _is_host(inner):
        return inner
    if inner != text or not _is_host(text):
        raise ConfigurationError(
            f"{text!r} is not a host; give a name or an address, without scheme and port",
            slug="bad-host",
        )
    return text


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?", text) is not None
    return True
