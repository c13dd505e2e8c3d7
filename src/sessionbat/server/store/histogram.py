"""Latencies counted in buckets that grow by a tenth each: small, addable, and good for percentiles.

A percentile read from it lies within 5 % of the true one (half a bucket's width: 4.8 %). Everything
up to a hundredth of a millisecond is one bucket; nothing is ever rounded away at the top.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

#: How far a percentile may be from the true one, as a part of it.
RELATIVE_ERROR: Final = 0.05

_GROWTH: Final = 1.1
_LOG_GROWTH: Final = math.log(_GROWTH)
_SMALLEST_MS: Final = 0.01
_LAST: Final = 500  # 0.01 ms × 1.1^500: beyond the age of the universe
# Beyond the last bucket; a latency near the end of what a float holds would become infinite.
_LARGEST_MS: Final = 1e30


def bucket_of(latency_ms: float) -> int:
    """Say in which bucket a latency counts."""
    if latency_ms <= _SMALLEST_MS:
        return 0
    return min(_LAST, 1 + int(math.log(min(latency_ms, _LARGEST_MS) / _SMALLEST_MS) / _LOG_GROWTH))


def percentiles(pairs: Sequence[int], parts: Sequence[float]) -> list[float | None]:
    """Estimate, for each part, the latency in milliseconds that so many of all lie at or below.

    Args:
        pairs: bucket, count, bucket, count, …, buckets ascending.
        parts: From 0 to 1.

    Returns:
        None for each when nothing was counted.
    """
    so_far = list(accumulate(pairs[1::2]))
    if not so_far:
        return [None for _ in parts]
    return [
        _MIDDLES[pairs[2 * bisect_left(so_far, max(1, math.ceil(part * so_far[-1])))]]
        for part in parts
    ]


def _middle(bucket: int) -> float:
    if bucket == 0:
        return _SMALLEST_MS
    low = _SMALLEST_MS * _GROWTH ** (bucket - 1)
    return low * 2 * _GROWTH / (1 + _GROWTH)  # where both ends are equally far, relatively


_MIDDLES: Final = [_middle(bucket) for bucket in range(_LAST + 1)]
