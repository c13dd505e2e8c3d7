"""Checks the Host header against DNS rebinding.

A foreign web page can point its own domain name at this machine; the browser would then let it read
every answer. The Host header of such a request has the foreign name.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.types import Scope

from sessionbat.server.settings import Settings, is_loopback
from sessionbat.server.web.refusal import Refused


class Hosts:
    """The names that the server answers to.

    These are the loopback names and those in the settings. A server that listens beyond loopback
    also answers to any IP address, since only a name can be made to point elsewhere.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = {name.lower() for name in (*settings.allowed_hosts, settings.host)}
        self._takes_addresses = not is_loopback(settings.host)

    def check(self, scope: Scope) -> None:
        """Check that a request was sent to one of the server's names.

        Raises:
            Refused: Its Host header is another name, missing or repeated (421).
        """
        host = _host(scope)
        if not (
            is_loopback(host)
            or host.lower() in self._names
            or (self._takes_addresses and _is_address(host))
        ):
            raise Refused(
                421,
                "wrong-host",
                "the Host header is not a name of this server; use 127.0.0.1, [::1] or"
                " localhost, or start it with --allowed-host NAME",
                at="Host",
            )


def came_over_https(scope: Scope) -> bool:
    """Whether the browser came over https, to this server or to a proxy in front of it.

    Trusts X-Forwarded-Proto from anyone, and only when it says https: a forged value marks the
    forger's own cookie as Secure and shows the forger an address with https. Headers of trusted
    proxies were applied to the scheme before.
    """
    if scope["scheme"] == "https":
        return True
    given = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    return bool(given) and given[0].partition(b",")[0].strip().lower() == b"https"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# A host with an optional port: no user name before it, nothing after the port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")


def _host(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    match = _HOST.fullmatch(values[0].decode("latin-1")) if len(values) == 1 else None
    if match is None or not 0 < int(match[3] or 1) <= 65535:
        return ""
    return match[1] or match[2]
