"""Making a value smaller where a reader can see it: ``…[+n characters]`` and ``<n more>``.

Pure functions over plain values, for the encoder (an event over its limit) and for delivery (an
event that the endpoint calls too large).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

#: The room of a mark; no text is cut shorter than this.
SHORTEST_CUT: Final = 24
#: Up to so many characters the size of a text is exact, beyond it is estimated from its head.
_MEASURED_CHARACTERS: Final = 1024


def cut_strings(root: Any, limit: int) -> int:
    """Cut the longest strings, in place, until all together have about ``limit`` characters.

    Returns how many characters there were before.
    """
    texts = list(_texts(root))
    total = sum(len(text) for _, _, text in texts)
    if total > limit:
        longest = _longest_allowed(sorted(len(text) for _, _, text in texts), limit)
        for owner, key, text in texts:
            owner[key] = cut_text(text, longest)
    return total


def cut_text(text: str, longest: int) -> str:
    """Cut a text to so many characters, and say how many are gone, also those of earlier cuts."""
    if len(text) <= max(longest, SHORTEST_CUT):
        return text
    keep = max(longest - SHORTEST_CUT, 0)
    earlier, head_characters = _earlier_cut(text)
    return f"{text[:keep]}…[+{head_characters - keep + earlier} characters]"


def _earlier_cut(text: str) -> tuple[int, int]:
    """Say how many characters an earlier cut took, and how many of the text are not its mark."""
    if text.endswith(" characters]"):
        # Only the end is looked at: the text may be a gigabyte, and copying it takes a second.
        mark = text[-40:].rpartition("…[+")[2]
        number = mark[: -len(" characters]")]
        if number.isascii() and number.isdigit():
            return int(number), len(text) - len(mark) - len("…[+")
    return 0, len(text)


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


def keep_items(roots: list[Any], limit: int) -> None:
    """Take items from the ends of objects and arrays, in place, until about ``limit`` are left.

    Each root has an equal share, and what those before it did not need. The first items of an array
    are kept whole rather than all of them in part; what lost items says how many.
    """
    left = 0
    for root in roots:
        left += limit // len(roots)
        if _is_container(root):
            left = _keep_items_of(root, left)


def _keep_items_of(owner: Any, left: int) -> int:
    """Return how many items there are left for what comes after."""
    if type(owner) is dict:
        if len(owner) > left:
            _drop_last(owner, len(owner) - left)
        left = max(left - len(owner), 0)
        for value in owner.values():
            if _is_container(value):
                left = _keep_items_of(value, left)
        return left
    for index, value in enumerate(owner):
        if left == 0:
            _drop_last(owner, len(owner) - index)
            break
        left -= 1
        if _is_container(value):
            left = _keep_items_of(value, left)
    return left


def _drop_last(owner: Any, number: int) -> None:
    dropped = 0
    for _ in range(number):
        last = owner.popitem()[0] if type(owner) is dict else owner.pop()
        dropped += _more(last) or 1
    if type(owner) is dict:
        owner[more_mark(dropped)] = None
    else:
        owner.append(more_mark(dropped))


def more_mark(number: int) -> str:
    """Say how many items are missing here."""
    return f"<{number} more>"


def _more(mark: object) -> int:
    if type(mark) is str and mark.startswith("<") and mark.endswith(" more>"):
        number = mark[1:-6]
        return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else 0
    return 0


class TextSize(NamedTuple):
    """How long the strings of a value are together."""

    characters: int
    utf8_bytes: int


def text_size(root: Any) -> TextSize:
    """Measure the strings of a value, without its keys; the bytes of long ones are estimated."""
    sizes: dict[int, int] = {}
    characters = utf8_bytes = 0
    for _, _, text in _texts(root):
        size = len(text) if text.isascii() else sizes.get(id(text))
        if size is None:
            size = sizes[id(text)] = _utf8_bytes_of(text)
        characters += len(text)
        utf8_bytes += size
    return TextSize(characters, utf8_bytes)


def _utf8_bytes_of(text: str) -> int:
    head = text[:_MEASURED_CHARACTERS].encode("utf-8", "surrogatepass")
    if len(text) <= _MEASURED_CHARACTERS:
        return len(head)
    return len(head) * len(text) // _MEASURED_CHARACTERS


def strings_of(root: Any) -> list[str]:
    """List every string of a value, without its keys."""
    return [text for _, _, text in _texts(root)]


def mend_strings(root: Any) -> None:
    """Make every string of a value valid Unicode, in place."""
    for owner, key, text in list(_texts(root)):
        owner[key] = mend_text(text)


def mend_text(text: str) -> str:
    """Return the text as valid Unicode: surrogate pairs are joined, lone ones become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _texts(root: Any) -> Iterator[tuple[Any, Any, str]]:
    owners = [root]
    for owner in owners:  # grows as it goes
        pairs: Iterable[tuple[Any, Any]] = (
            owner.items() if type(owner) is dict else enumerate(owner)
        )
        for key, value in pairs:
            if type(value) is str:
                yield owner, key, value
            elif _is_container(value):
                owners.append(value)


def _is_container(value: object) -> bool:
    return type(value) is dict or type(value) is list
