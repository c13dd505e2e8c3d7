"""By which names a server may be addressed: the Host header, checked against DNS rebinding.

A page elsewhere can point its own name at this machine and would then be allowed by the browser to
read every answer; the name that the request was sent to gives it away.
"""

from __future__ import annotations

import ipaddress

from starlette.types import Scope

from sessionbat.server.refusal import Refused
from sessionbat.server.settings import Settings, is_loopback


class Hosts:
    """Knows the server's own names.

    Loopback always is one, and so is what the settings name. A server that listens elsewhere also
    answers to any address: only a name can be pointed somewhere else.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = {name.lower() for name in (*settings.allowed_hosts, settings.host)}
        self._takes_addresses = not is_loopback(settings.host)

    def check(self, scope: Scope) -> None:
        """Let a request pass that was sent to this server.

        Raises:
            Refused: Its Host header is another name, missing, or there twice (421).
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
                "this server does not go by that name; address it as 127.0.0.1, [::1] or"
                " localhost, or start it with --allowed-host NAME",
                at="Host",
            )


def came_over_https(scope: Scope) -> bool:
    """Whether the browser came over https, to this server or to a proxy in front of it.

    The proxy's word is taken without knowing it, so only for what a lie cannot turn against others:
    that a cookie leaves the browser over https only, and which address a page shows.
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


def _host(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    if len(values) != 1:
        return ""
    host: str = values[0].decode("latin-1")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
