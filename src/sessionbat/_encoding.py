"""Any Python value → valid JSON bytes, at the call: the snapshot that an event carries.

Plain values (what JSON itself knows) are encoded as they stand, after a walk that bounds depth,
nodes and size. Everything else is first rebuilt from known types by ``_plain_values``. Nothing here
raises, runs code of an unknown type or waits; what does not fit is cut where a reader can see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from sessionbat._cutting import cut_strings
from sessionbat._plain_values import MAX_DEPTH, MAX_NODES, SCALARS, mend_text, to_plain
from sessionbat.event import MAX_EVENT_BYTES

_OPTIONS: Final = orjson.OPT_UTC_Z
# An event of the default size, all of it items of an array, then holds no more than MAX_NODES.
_ITEM_COST: Final = -(-MAX_EVENT_BYTES // MAX_NODES)


class Snapshot:
    """A value as it was at one moment, already JSON; may stand for ``input`` or ``output``."""

    __slots__ = ("data",)

    def __init__(self, value: object) -> None:
        """Take the snapshot; later changes of ``value`` do not reach it."""
        self.data = encode_value(value)

    def value(self) -> Any:
        """Decode it again into plain values."""
        return orjson.loads(self.data)


def encode_value(value: object, max_bytes: int = MAX_EVENT_BYTES) -> bytes:
    """Encode one value by the table of ``docs/event-format.md``, cut to a limit; never raises."""
    line = _encode_as_is(value) if is_plain([value], max_bytes) else None
    if line is not None and len(line) <= max_bytes:
        return line
    # In a list, because a string on its own has nowhere to be cut in place.
    plain = [to_plain(value)]
    cut_strings(plain, limit=max_bytes // 6)
    return orjson.dumps(plain)[1:-1]


def encode_event(envelope: dict[str, Any], observation: dict[str, Any], max_bytes: int) -> bytes:
    """Encode one event as a single line; never raises and never exceeds ``max_bytes``.

    Args:
        envelope: The outer fields without ``observation``; it is completed in place.
        observation: The inner fields, holding any Python values.
        max_bytes: The longest line allowed; longer ones have their longest strings cut.
    """
    envelope["observation"] = observation
    if is_plain(observation.values(), max_bytes):
        line = _encode_as_is(envelope)
        if line is not None and len(line) <= max_bytes:
            return line
    return _encode_mended(envelope, observation, max_bytes)


def is_plain(values: Iterable[Any], room: int = MAX_EVENT_BYTES) -> bool:
    """Whether orjson can encode the values as they stand, within the limits on every side.

    Looks at exact types only, so it runs nobody's code, and it gives up before a shared or endless
    structure could unfold: each item costs ``_ITEM_COST`` of the room, each character one.
    """
    try:
        for value in values:
            kind = type(value)
            if kind is str:
                room -= len(value)
            elif kind is Snapshot:
                room -= len(value.data)
            elif kind not in SCALARS:
                room = _room_after(value, kind, room, MAX_DEPTH)
    except Exception:  # noqa: BLE001 - not plain, or another thread is changing it just now
        return False
    return room >= 0


def _room_after(value: Any, kind: type, room: int, depth: int) -> int:
    """Say how much room a container leaves; raises when it is not plain or does not fit."""
    if kind is dict:
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        raise TypeError
    room -= _ITEM_COST * len(value)
    if room < 0 or depth == 0:
        raise ValueError
    for item in items:
        kind = type(item)
        if kind is str:
            room -= len(item)
        elif kind not in SCALARS:
            room = _room_after(item, kind, room, depth - 1)
    return room


def _encode_as_is(value: object) -> bytes | None:
    try:
        return orjson.dumps(value, _snapshot_as_it_is, _OPTIONS)
    except Exception:  # noqa: BLE001 - a lone surrogate, a wide integer: the caller mends it
        return None


def _snapshot_as_it_is(value: object) -> orjson.Fragment:
    if type(value) is Snapshot:
        return orjson.Fragment(value.data)
    raise TypeError


def _encode_mended(envelope: dict[str, Any], observation: dict[str, Any], max_bytes: int) -> bytes:
    for name, value in envelope.items():
        if type(value) is str:
            envelope[name] = mend_text(value)
    for name, value in observation.items():
        if type(value) is Snapshot:
            observation[name] = value.value()
    plain: dict[str, Any] = to_plain(observation)
    envelope["observation"] = plain
    characters = cut_strings(plain, limit=None)
    original_bytes = characters
    if characters <= max_bytes:
        line = orjson.dumps(envelope, option=_OPTIONS)
        if len(line) <= max_bytes:
            return line
        original_bytes = len(line)
    return _encode_cut(envelope, plain, max_bytes, original_bytes)


def _encode_cut(
    envelope: dict[str, Any], plain: dict[str, Any], max_bytes: int, original_bytes: int
) -> bytes:
    plain["truncated"] = {"original_bytes": original_bytes}
    room = max_bytes
    # A character takes up to six bytes as JSON, so a few halvings always suffice.
    for _ in range(6):
        room //= 2
        cut_strings(plain, limit=room)
        line = orjson.dumps(envelope, option=_OPTIONS)
        if len(line) <= max_bytes:
            return line
    for name in ("input", "output", "metadata", "metrics", "error"):
        plain[name] = {} if name.startswith("met") else None
    return orjson.dumps(envelope, option=_OPTIONS)
