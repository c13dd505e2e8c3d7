"""Middleware that restores the original request from a proxy's ``X-Forwarded-…`` headers.

``X-Forwarded-Prefix``, ``-Proto``, ``-Host`` and ``-For`` are trusted from the proxies in the
settings. If there are none, the first two are trusted from this machine: the links of a local proxy
then work without configuration, and a forged value harms only its sender. The last of several
values counts, since the proxy itself wrote it; in ``-For``, the last address that is no trusted
proxy.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from sessionbat.server.settings import Settings, clean_root_path
from sessionbat.server.web.addresses import Addresses, attach
from sessionbat.server.web.host_header import came_over_https

_FOR: Final = b"x-forwarded-for"
_HOST: Final = b"x-forwarded-host"
_PREFIX: Final = b"x-forwarded-prefix"
_PROTO: Final = b"x-forwarded-proto"
_NAMES: Final = (_FOR, _HOST, _PREFIX, _PROTO)
_BELIEVED_FROM_HERE: Final = (_PREFIX, _PROTO)
_THIS_MACHINE: Final = ("127.0.0.0/8", "::1/128")


class Forwarded:
    """ASGI middleware that sets client, scheme, host and root path, and attaches the addresses.

    Accepts requests with the root path, and those from which a proxy has removed it.

    Args:
        app: The application to call.
        settings: The root path and the trusted proxies.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._root = settings.root_path
        named = settings.trusted_proxies
        self._trusted = [ipaddress.ip_network(each) for each in named or _THIS_MACHINE]
        self._believed = _NAMES if named else _BELIEVED_FROM_HERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] == "http":
            scope = self._as_sent(dict(scope))
        await self._app(scope, receive, send)

    def _as_sent(self, scope: Scope) -> Scope:
        root = self._root
        if self._trusts((scope.get("client") or ("",))[0]):
            root = self._believe(scope)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        scheme = "https" if came_over_https(scope) else "http"
        attach(scope, Addresses(root, f"{scheme}://{host.decode('latin-1')}"))
        if root:
            scope["root_path"] = root
            scope["path"] = _below(root, scope["path"])
            raw = (scope.get("raw_path") or b"").decode("latin-1")
            scope["raw_path"] = _below(root, raw).encode("latin-1")
        return scope

    def _believe(self, scope: Scope) -> str:
        """Apply a trusted proxy's headers; returns the root path."""
        if not any(name in _NAMES for name, _ in scope["headers"]):
            return self._root
        said = {name: _values(scope, name) if name in self._believed else [] for name in _NAMES}
        scope["headers"] = [each for each in scope["headers"] if each[0] not in _NAMES]
        client = self._client(said[_FOR])
        if client:
            scope["client"] = (client, 0)
        for scheme in said[_PROTO][-1:]:
            scope["scheme"] = "https" if scheme.lower() == "https" else "http"
        for host in said[_HOST][-1:]:
            scope["headers"] = [each for each in scope["headers"] if each[0] != b"host"]
            scope["headers"].append((b"host", host.encode("latin-1")))
        for prefix in said[_PREFIX][-1:]:
            root = clean_root_path(prefix)
            return self._root if root is None else root
        return self._root

    def _client(self, said: list[str]) -> str:
        """Return the client's address as the first trusted proxy saw it; empty when unknown."""
        addresses = [_address(each) for each in said]
        for address in reversed(addresses):
            if not self._trusts(address):
                return address
        return addresses[0] if addresses else ""

    def _trusts(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._trusted)


def _values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header that may be repeated and may hold lists."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [part.strip() for part in ",".join(lines).split(",") if part.strip()]


# An address as proxies write it: with or without a port, IPv6 with or without brackets.
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+(?:\.\d+){3})(?::\d+)?|([0-9A-Fa-f:.]+)")
#: The client when the header has no valid address; never counts as this machine.
_UNKNOWN: Final = "unknown"


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    try:
        return str(ipaddress.ip_address(match[match.lastindex or 0])) if match else _UNKNOWN
    except ValueError:
        return _UNKNOWN


def _below(root: str, path: str) -> str:
    if path == root:
        return f"{root}/"
    return path if path.startswith(f"{root}/") else f"{root}{path}"
