"""The login cookie: the id of a key and the time of the login, signed.

The cookie does not hold the key itself. Each request checks that the key is still valid, so
revoking a key ends its logins at once. The signing secret is in the store, so logins survive a
restart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

#: After so many days a login ends, used or not.
LOGIN_DAYS: Final = 7
LOGIN_SECONDS: Final = LOGIN_DAYS * 24 * 3600

_VALUE = re.compile(r"([a-z0-9]{1,32})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
# A clock that was set back a little must not end the logins of the last minutes.
_MAX_SKEW_S: Final = 300


class LoginCookie:
    """Makes and reads cookies and form tokens.

    Args:
        secret: The store's signing secret; anyone who has it can log in as any key.
        clock: Seconds since 1970.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        #: Its own for each store: browsers do not tell the ports of a machine apart, and logging
        #: in to one server must not log out of another.
        self.name = f"sessionbat_{self.sign('name', '')[:8].replace('-', '0')}"

    def make(self, key_id: str) -> str:
        """Make a cookie's value for a key that may read."""
        signed = f"{key_id}.{int(self._clock())}"
        return f"{signed}.{self.sign('login', signed)}"

    def read(self, value: str) -> str | None:
        """Return the id of the key that a cookie was made for; None when forged or too old.

        The caller still has to ask the store whether the key is valid.
        """
        match = _VALUE.fullmatch(value)
        if match is None:
            return None
        key_id, at, _ = match.groups()
        if not self.is_signed("login", f"{key_id}.{at}", match[3]):
            return None
        age_s = self._clock() - int(at)
        return key_id if -_MAX_SKEW_S <= age_s < LOGIN_SECONDS else None

    def sign(self, purpose: str, text: str) -> str:
        """Sign a text for one purpose; the signature is not valid for another purpose."""
        digest = hmac.digest(self._secret, f"{purpose}\0{text}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_signed(self, purpose: str, text: str, signature: str) -> bool:
        """Whether the signature is right, compared in constant time."""
        expected = self.sign(purpose, text).encode()
        return hmac.compare_digest(expected, signature.encode("utf-8", "replace"))
