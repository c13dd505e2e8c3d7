"""Rate limit for wrong keys by address; arithmetic and a clock, no I/O.

A valid key is never delayed, not even from an address that has sent many wrong ones: behind a proxy
everybody has the same address, and 2¹⁶⁰ secrets need no limit on guessing. The limit slows down
misconfigured clients and keeps the log short.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

#: Failures that an address may make at once, and how many of them are forgotten each second.
ALLOWANCE: Final = 10
REFILL_PER_S: Final = 1 / 6
#: Addresses that are remembered; beyond it, the one that has failed least lately is forgotten.
MAX_ADDRESSES: Final = 4096


class Throttle:
    """Counts failures by address in bounded memory; not thread-safe.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: The remaining allowance of each address, and its time; the last to fail is last.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def fail(self, address: str) -> int | None:
        """Count a failure.

        Returns:
            Whole seconds after which the address may fail again; None while it is within bounds.
        """
        now, network = self._clock(), _network(address)
        left, since = self._left.pop(network, (float(ALLOWANCE), now))
        left = min(float(ALLOWANCE), left + (now - since) * REFILL_PER_S)
        self._left[network] = (max(left - 1, 0.0), now)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return None if left >= 1 else math.ceil((1 - left) / REFILL_PER_S)


def _network(address: str) -> str:
    """Return the network to count by: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]  # a socket without addresses, or a name
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
