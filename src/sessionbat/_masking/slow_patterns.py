"""Patterns that take long: refused when the mask is made, or stopped while they search.

``re`` cannot be interrupted, so a long text is searched in pieces first, the small ones before the
large ones, and given up once a piece takes longer than its quarters together. Times are processor
time of the thread, so a busy machine makes no pattern slow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from enum import Enum
from typing import Final

#: Why a text was removed whole: a pattern would have searched it for too long.
SLOW: Final = "mask-slow"

#: Sizes of the pieces that are tried before a longer text is searched as one. Each is searched
#: once more by every size below the text's own, so a pattern known to be linear begins late: 8 K
#: characters take a quadratic one half a second.
_PIECES: Final = {False: (8192, 65_536, 524_288), True: (64, 1024, 8192, 65_536, 524_288)}
_SUSPICIOUS_S: Final = 0.005
_SUSPICIOUS_S_PER_CHARACTER: Final = 1e-6
#: A quadratic pattern takes four times as long for a text as for its quarters.
_SUSPICIOUS_RISE: Final = 2.5
#: The most that the pieces of one text may take.
_MAX_S: Final = 1.0

_DOUBLING_ENDS: Final = (12, 16, 20, 24)
#: 24 characters are searched in microseconds, unless each character doubles the work.
_EXPLODES_S: Final = 0.003
#: The short ones first: to the fourth power, 512 characters take half a minute.
_GROWTH_ENDS: Final = (32, 128, 512)
_GROWTH_S: Final = 0.0002
_PROBES: Final = ("a", "0", " ", "a ", "A1", "a.", "a-", "@", "/a", '"', "\\", "é", "[", "=", ",")
_MAX_OWN_PROBES: Final = 40
_OWN_WORD: Final = re.compile(r"\w+")
_OWN_WORD_AND_SIGN: Final = re.compile(r"\w+\W")


class Growth(Enum):
    """How a pattern's time grows with a text, as far as probes show it."""

    LINEAR = False
    FASTER = True
    EXPONENTIAL = None


class TooSlowError(Exception):
    """A pattern was not run to the end of a text."""


def growth_of(pattern: re.Pattern[str]) -> Growth:
    """Probe a pattern with texts that it nearly finds; some milliseconds, once."""
    probes = list(_probes(pattern))
    if any(_doubles(pattern, p) and _doubles(pattern, p) for p in probes):  # twice: the first loads
        return Growth.EXPONENTIAL
    if any(_grows(pattern, (p * end)[:end] + "\0") for end in _GROWTH_ENDS for p in probes):
        return Growth.FASTER
    return Growth.LINEAR


def _probes(pattern: re.Pattern[str]) -> Iterator[str]:
    yield from _PROBES
    yield from list(dict.fromkeys(pattern.pattern))[:_MAX_OWN_PROBES]
    for own in (_OWN_WORD, _OWN_WORD_AND_SIGN):
        yield from list(dict.fromkeys(own.findall(pattern.pattern)))[:_MAX_OWN_PROBES]


def _doubles(pattern: re.Pattern[str], probe: str) -> bool:
    texts = ((probe * end)[:end] + "\0" for end in _DOUBLING_ENDS)
    return any(_seconds(pattern, text) > _EXPLODES_S for text in texts)


def _grows(pattern: re.Pattern[str], text: str) -> bool:
    taken = _seconds(pattern, text)
    return taken > _GROWTH_S and _is_more_than_its_quarters(pattern, text, taken)


def replace(pattern: re.Pattern[str], growth: Growth, replacement: str, text: str) -> str:
    """Replace what a pattern finds, within some seconds of processor time.

    Raises:
        TooSlowError: Its time grows faster than the text, or would pass the limit.
    """
    sizes = _PIECES[growth is not Growth.LINEAR]
    if len(text) > sizes[0]:
        _try_pieces(pattern, text, sizes)
    return pattern.sub(replacement, text)


def _try_pieces(pattern: re.Pattern[str], text: str, sizes: tuple[int, ...]) -> None:
    left = _MAX_S
    for size in sizes:
        if size >= len(text):
            return
        for begin in range(0, len(text), size):
            piece = text[begin : begin + size]
            taken = _seconds(pattern, piece)
            left -= taken
            if left < 0 or _is_too_slow(pattern, piece, taken):
                raise TooSlowError


def _is_too_slow(pattern: re.Pattern[str], piece: str, taken: float) -> bool:
    return (
        taken > _SUSPICIOUS_S
        and taken > _SUSPICIOUS_S_PER_CHARACTER * len(piece)
        and _is_more_than_its_quarters(pattern, piece, taken)
    )


def _is_more_than_its_quarters(pattern: re.Pattern[str], text: str, taken: float) -> bool:
    quarter = -(-len(text) // 4)
    quarters = (text[begin : begin + quarter] for begin in range(0, len(text), quarter))
    return taken > _SUSPICIOUS_RISE * sum(_seconds(pattern, part) for part in quarters)


def _seconds(pattern: re.Pattern[str], text: str) -> float:
    started = time.thread_time()
    pattern.sub("", text)
    return time.thread_time() - started
