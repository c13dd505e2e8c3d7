"""Which proxy the environment names for an endpoint, as curl reads it; none for loopback.

Asked once for each sender. A proxy that cannot be used is said and gone around: recording must not
end an application because of a variable that was meant for other programs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from sessionbat._delivery.notices import warn_once
from sessionbat._settings import is_loopback

_KNOWN_KINDS: Final = frozenset({"socks", "socks4", "socks4a", "socks5", "socks5h", "ftp"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http or https proxy; ``credentials`` are ``name:password``, or empty."""

    url: str
    credentials: str = ""

    def __repr__(self) -> str:
        """Say nothing of the credentials."""
        return f"Proxy({self.url!r})"


def proxy_for(endpoint: str) -> Proxy | None:
    """Find the proxy for an endpoint; None when it is addressed directly."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if is_loopback(host) or not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    import urllib.request  # on the caller, in the client's constructor, and only where it is needed

    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    proxies = urllib.request.getproxies()
    if _is_excepted(host, port, proxies.get("no", "")) or urllib.request.proxy_bypass(host):
        return None
    named = proxies.get(parts.scheme) or proxies.get("all")
    return _usable(named.strip(), host) if named else None


def _usable(named: str, host: str) -> Proxy | None:
    address = _split(named if "://" in named else f"http://{named}")
    if address is None:
        kind = named.partition("://")[0].lower()
        warn_once(
            "bad-proxy",
            host,
            "the environment names a proxy %s; %s is addressed without one. Name an http proxy,"
            " or except the host in NO_PROXY. [bad-proxy]",
            f"of a kind that is not supported ({kind})"
            if kind in _KNOWN_KINDS
            else "that is no http or https address",
            host,
        )
        return None
    plain = address._replace(netloc=address.netloc.rpartition("@")[2], path="", query="")
    credentials = ""
    if address.username:
        credentials = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return Proxy(plain._replace(fragment="").geturl(), credentials)


def _split(url: str) -> SplitResult | None:
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # a port that is no number, a bracket without its pair
        return None
    return address if usable and url.isascii() and url.isprintable() and " " not in url else None


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` names a host: by name, suffix, ``*``, address or network, with port."""
    return any(_names(entry, host, port) for entry in no_proxy.replace(",", " ").lower().split())


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, only_port = _without_port(entry)
    if only_port is not None and only_port != port:
        return False
    covers = _covers(name, host)
    if covers is not None:
        return covers
    suffix = name.removeprefix("*").strip(".")
    host = host.rstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _without_port(entry: str) -> tuple[str, int | None]:
    """Split an exception into host and port; an address of IPv6 has a port only with brackets."""
    name, colon, port = entry.rpartition(":")
    bracketed = entry.startswith("[")
    if colon and port.isdigit() and (name.endswith("]") if bracketed else ":" not in name):
        return name.strip("[]"), int(port)
    return (entry.replace("[", "").replace("]", "") if bracketed else entry), None


def _covers(network: str, host: str) -> bool | None:
    """Whether an address is in a network; None when either is a name."""
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return None
