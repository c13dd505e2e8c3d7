"""Which sessions are in the sample: decided by the session's id alone, alike in every process."""

from __future__ import annotations

import hashlib
from typing import Final

_RANGE: Final = 2**64


def is_sampled(session_id: str, rate: float) -> bool:
    """Whether a session is recorded at a rate from 0 to 1.

    The first eight bytes of the id's SHA-256, as a share of their range, are below the rate. So a
    session is in or out as a whole, and what is in at a lower rate is in at every higher one.
    """
    digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < rate * _RANGE
