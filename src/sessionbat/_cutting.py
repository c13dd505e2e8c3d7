"""Cutting long strings where a reader can see it: ``…[+n characters]``.

Pure functions over plain values, for the encoder (an event over its limit) and for delivery (an
event that the endpoint calls too large).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def cut_strings(root: Any, limit: int | None) -> int:
    """Cut the longest strings until all together have at most ``limit`` characters.

    Returns how many bytes the strings had before, counting a character that is not ASCII as three.
    With a limit of None nothing is cut.
    """
    texts = [(owner, key, text) for owner, key, text in _texts(root)]
    total = sum(len(text) if text.isascii() else 3 * len(text) for _, _, text in texts)
    if limit is not None:
        longest = _longest_allowed(sorted(len(text) for _, _, text in texts), limit)
        for owner, key, text in texts:
            if len(text) > longest:
                owner[key] = cut_text(text, longest)
    return total


def _longest_allowed(lengths: list[int], limit: int) -> int:
    """Find the length to which the longest texts are cut so that all together fit the limit."""
    room, left = limit, len(lengths)
    for length in lengths:
        share = room // left
        if length > share:
            return share
        room -= length
        left -= 1
    return limit


def cut_text(text: str, keep: int) -> str:
    """Keep so many characters and say how many are gone, also those of an earlier cut."""
    head, _, earlier = text.rpartition("…[+")
    if head and earlier.endswith(" characters]") and earlier[:-12].isdigit():
        return f"{head[:keep]}…[+{int(earlier[:-12]) + len(head[keep:])} characters]"
    return f"{text[:keep]}…[+{len(text) - keep} characters]"


def _texts(root: Any) -> Iterator[tuple[Any, Any, str]]:
    stack = [root]
    while stack:
        owner = stack.pop()
        pairs: Iterable[tuple[Any, Any]] = (
            list(owner.items()) if type(owner) is dict else enumerate(owner)
        )
        for key, value in pairs:
            if type(value) is str:
                yield owner, key, value
            elif type(value) is dict or type(value) is list:
                stack.append(value)
