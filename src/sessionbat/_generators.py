"""Which generator a block was entered in: Python gives a generator no context of its own.

Two streams that are read in turn share one context, so what is current has to be told from the call
stack there: a generator that runs is on it, one that waits is not. Reads frames and changes none.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Container
from types import CodeType, FrameType
from typing import Final

#: A frame by its identity; by its code as well, since the identity of one that is gone comes again.
Owner = tuple[int, CodeType]

# CO_GENERATOR and CO_ASYNC_GENERATOR; `inspect`, which has the names, is large to import.
_WAITS: Final = 0x20 | 0x200
_CONTEXTLIB: Final = contextlib.__file__
_MAX_FRAMES: Final = 64


def running_generator() -> Owner | None:
    """Get the innermost generator that the caller runs in; None outside any.

    One behind ``@contextmanager`` is passed over: what it enters is meant for who uses it.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return None
        back = frame.f_back
        if frame.f_code.co_flags & _WAITS and not _is_contextlib(back):
            return id(frame), frame.f_code
        frame = back
    return None


def first_of(owners: Container[Owner]) -> Owner | None:
    """Get the innermost of some generators that the caller runs in; None in none of them."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return None
        if frame.f_code.co_flags & _WAITS and (id(frame), frame.f_code) in owners:
            return id(frame), frame.f_code
        frame = frame.f_back
    return None


def _is_contextlib(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename == _CONTEXTLIB
