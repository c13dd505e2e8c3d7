"""Any Python value → dicts, lists, strings, numbers, booleans and None: the conversion.

Called by ``encoder`` and for small things by ``well_formed`` and ``_scope``. Never raises, and
calls no method of an unknown class, so recording cannot block, recurse or have effects. Strings are
handed on as they are, however long: cutting and mending them comes after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import Enum
from functools import partial
from gc import get_referents
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from sessionbat._encoding.class_facts import (
    MOMENTS,
    instance_dict,
    is_a,
    is_iterator,
    mro_of,
    name_of,
    type_name,
)
from sessionbat._encoding.cutting import cut_strings, cut_text, mend_text, more_mark
from sessionbat._encoding.exception_messages import MAX_MESSAGE_CHARACTERS, message_of
from sessionbat._encoding.fields import fields_of
from sessionbat._encoding.known_types import (
    MASKED,
    describe_array,
    is_array,
    is_secret,
    leaf_writer,
    number_of,
)
from sessionbat._encoding.records import holder_of, pairs_of

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_KEY_CHARACTERS: Final = 1024
#: All keys of a value together.
MAX_KEYS_CHARACTERS: Final = 1024 * 1024

_NOT_CONSUMED: Final = "<generator>"
_ARGUMENT_NODES: Final = 100
_READ_TRIES: Final = 20


def to_plain(value: object, max_nodes: int = MAX_NODES) -> Any:
    """Rebuild a value from what JSON knows, in containers of its own; never raises."""
    return Conversion(max_nodes).convert(value)


def describe_exception(error: BaseException) -> dict[str, str]:
    """Describe an exception as ``{"type", "message"}`` without running a ``__str__`` in Python."""
    try:
        message = message_of(error, _argument_text)
    except Exception:  # noqa: BLE001 - an exception in a broken state; its name remains
        message = type_name(type(error))
    return {"type": name_of(type(error)), "message": message}


class _Open:
    """A container under conversion: what it becomes, and what of it is still to come."""

    __slots__ = ("id", "rest", "target", "to_come")

    def __init__(self, id: int, target: Any, rest: Iterator[Any], to_come: int) -> None:
        self.id = id
        self.target = target
        self.rest = rest
        self.to_come = to_come


class Conversion:
    """One conversion, with a budget of nodes and of characters in keys.

    Walks with a stack of its own: the host may call from deep inside its own recursion.
    """

    def __init__(self, max_nodes: int = MAX_NODES, *, inside_exception: bool = False) -> None:
        self.nodes_left = max_nodes
        self.key_characters_left = MAX_KEYS_CHARACTERS
        self._inside_exception = inside_exception
        self._open: list[_Open] = []
        self._open_ids: set[int] = set()
        self._ways: dict[int, _Way] = {}
        self._kinds: list[type] = []

    def convert(self, root: object) -> Any:
        """Convert a value and everything in it."""
        converted = self._begin(root)
        while self._open:
            container = self._open[-1]
            if type(container.target) is dict:
                self._fill_object(container)
            else:
                self._fill_array(container)
            if container is self._open[-1]:
                self._open.pop()
                self._open_ids.discard(container.id)
        return converted

    def _fill_array(self, container: _Open) -> None:
        """Append what comes next, until something has to be filled first.

        Each item pays when its turn comes, so that the first of many are there whole.
        """
        target, depth = container.target, len(self._open)
        for item in container.rest:
            if self.nodes_left <= 0:
                break
            self.nodes_left -= 1
            container.to_come -= 1
            target.append(self._begin(item))
            if len(self._open) > depth:
                return
        if container.to_come:
            target.append(more_mark(container.to_come))

    def _fill_object(self, container: _Open) -> None:
        """Add the next pairs, all paid for before: they are often few, and each says much."""
        target, depth = container.target, len(self._open)
        for key, item in container.rest:
            text = key if type(key) is str and _is_usual_key(key) else self._key_text(key)
            if text in target:
                text = _free_key(text, target)
            self.key_characters_left -= len(text)
            if self.key_characters_left < 0:
                break
            container.to_come -= 1
            target[text] = self._begin(item)
            if len(self._open) > depth:
                return
        if container.to_come:
            target[_free_key(more_mark(container.to_come), target)] = None

    def _begin(self, value: Any) -> Any:
        """Convert a single value; of a container make the empty counterpart and open it."""
        kind = type(value)
        if kind is str or value is None or kind is float or kind is bool:
            return value
        if kind is int:
            return number_of(value)
        try:
            return self._begin_other(value, kind)
        except Exception:  # noqa: BLE001 - a known type in a broken state; its name remains
            return type_name(kind)

    def _begin_other(self, value: Any, kind: type) -> Any:
        way = _BUILT_IN_WAYS.get(id(kind)) or self._ways.get(id(kind))
        if way is None:
            way = self._ways[id(kind)] = _way_of(kind)
            self._kinds.append(kind)  # as long as it lives, nothing else has its id
        return way(self, value)

    def _key_text(self, key: Any) -> str:
        """Write a key that need not be a string as ``str(key)`` does, for types that are known."""
        kind = type(key)
        if kind is str:
            return _short(key)
        if kind is int:
            return _short(str(number_of(key)))
        try:
            return _short(self._other_key_text(key, kind))
        except Exception:  # noqa: BLE001 - a known type in a broken state; its name remains
            return type_name(kind)

    def _other_key_text(self, key: Any, kind: type) -> str:
        if key is None or kind is bool or kind is float:
            return str(key)
        if kind is tuple and len(key) <= _MAX_KEY_PARTS:
            parts = [self._key_part(part) for part in key]
            return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
        if kind is bytes:
            return repr(key[:MAX_KEY_CHARACTERS])
        if is_a(kind, Enum):
            stored = instance_dict(key)["_value_"]
            return type_name(kind) if is_a(type(stored), Enum) else self._key_text(stored)
        written = self._begin_other(key, kind) if leaf_writer(kind) is not None else None
        return str(written) if type(written) in (str, int, float) else type_name(kind)

    def _key_part(self, part: Any) -> str:
        return repr(_short(part)) if type(part) is str else self._key_text(part)

    def begin_enum(self, value: Any) -> Any:
        """Convert a member of an enumeration as its value."""
        stored = instance_dict(value)["_value_"]
        return type_name(type(value)) if is_a(type(stored), Enum) else self._begin(stored)

    def begin_exception(self, error: Any) -> Any:
        """Describe an exception; inside another's arguments, name it only."""
        return type_name(type(error)) if self._inside_exception else describe_exception(error)

    def begin_array(self, value: object, size: int, read: Callable[[int], list[Any]]) -> Any:
        """Open an array of so many items, of which ``read`` gets the first."""
        return self._begin_container(value, [], size, read)

    def begin_object(self, value: object, size: int, read: Callable[[int], list[Any]]) -> Any:
        """Open an object of so many pairs, of which ``read`` gets the first."""
        return self._begin_container(value, {}, size, read)

    def begin_held(self, value: object, held: Any) -> Any:
        """Convert what an object keeps everything in; ``<cycle>`` where that is the object."""
        if id(value) in self._open_ids:
            return "<cycle>"
        self._open_ids.add(id(value))
        try:
            return self._begin(held)
        finally:
            self._open_ids.discard(id(value))

    def _begin_container(
        self, value: object, target: Any, size: int, read: Callable[[int], list[Any]]
    ) -> Any:
        if id(value) in self._open_ids:
            return "<cycle>"
        if len(self._open) >= MAX_DEPTH:
            return "<depth>"
        items = read(min(size, self.nodes_left))
        if type(target) is dict:
            self.nodes_left -= len(items)
        self._open.append(_Open(id(value), target, iter(items), max(size, len(items))))
        self._open_ids.add(id(value))
        return target


_Way = Callable[[Conversion, Any], Any]


def _way_of(kind: type) -> _Way:
    """Decide how the objects of a class are converted."""
    if is_secret(kind):
        return _always(MASKED)
    if is_a(kind, Enum):
        return Conversion.begin_enum
    writer = leaf_writer(kind)
    if writer is not None:
        return lambda _, value: writer(value)
    if is_a(kind, BaseException):
        return Conversion.begin_exception
    if is_a(kind, dict):
        return _begin_dict
    container = _way_of_fields(kind) or _way_of_items(kind)
    if container is not None:
        return container
    if kind is MappingProxyType:
        return _begin_mapping_proxy
    if is_array(kind):
        return lambda _, value: describe_array(value)
    if is_iterator(kind):
        return _always(_NOT_CONSUMED)
    if is_a(kind, type):
        return lambda _, value: type_name(value)
    return _way_of_records(kind) or _always(type_name(kind))


def _always(text: str) -> _Way:
    return lambda *_: text


def _begin_dict(conversion: Conversion, value: Any) -> Any:
    read = partial(_first_of, _iterate_items, value)
    return conversion.begin_object(value, dict.__len__(value), read)


def _begin_mapping_proxy(conversion: Conversion, value: Any) -> Any:
    # Asked of the proxy itself, the mapping behind it would answer: anybody's code.
    behind = get_referents(value)[0]
    if is_a(type(behind), dict):
        return _begin_dict(conversion, behind)
    way = _way_of_records(type(behind), MappingProxyType)
    return type_name(MappingProxyType) if way is None else way(conversion, behind)


def _way_of_records(kind: type, named: type | None = None) -> _Way | None:
    """Find the way of a mapping or record that is neither a dict nor declares its fields.

    Args:
        kind: Its class.
        named: The class to name where it shows nothing, if not its own.
    """
    read, hold = pairs_of(kind), holder_of(kind)
    if read is not None:

        def begin_record(conversion: Conversion, value: Any) -> Any:
            pairs, size = read(value)
            return conversion.begin_object(value, size, lambda number: pairs[:number])

        return begin_record
    if hold is None:
        return None

    def begin_held(conversion: Conversion, value: Any) -> Any:
        try:
            held = hold(value)
        except LookupError:
            return type_name(named or kind)
        return conversion.begin_held(value, held)

    return begin_held


def _way_of_items(kind: type) -> _Way | None:
    for ancestor in mro_of(kind):
        known = _ARRAYS.get(id(ancestor))
        if known is not None:
            size, iterate = known
            return lambda conversion, value: conversion.begin_array(
                value, size(value), partial(_first_of, iterate, value)
            )
    return None


def _way_of_fields(kind: type) -> _Way | None:
    """Find the way of a class that declares its fields; None for any other."""
    read = fields_of(kind)
    if read is None:
        return None

    def begin(conversion: Conversion, value: Any) -> Any:
        fields = read(value)
        return conversion.begin_object(value, len(fields), lambda number: fields[:number])

    return begin


def _iterate_items(value: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return iter(dict.items(value))


def _first_of(iterate: Callable[[Any], Iterator[Any]], value: Any, number: int) -> list[Any]:
    """Read the first items in one step of the interpreter."""
    for _ in range(_READ_TRIES):
        try:
            return list(islice(iterate(value), number))
        except RuntimeError:  # another thread changed it between that step and the one before
            continue
    raise RuntimeError


def _free_key(key: str, taken: dict[str, Any]) -> str:
    """Find a key that is not taken: ``key``, ``key#2``, ``key#3``."""
    if key not in taken:
        return key
    # Doubling and halving, because thousands of objects of one class may be keys of one dict.
    high = 2
    while f"{key}#{high}" in taken:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if f"{key}#{middle}" in taken else (low, middle)
    return f"{key}#{high}"


def _is_usual_key(key: str) -> bool:
    return len(key) <= MAX_KEY_CHARACTERS and key.isascii()


def _short(text: str) -> str:
    return mend_text(cut_text(text, MAX_KEY_CHARACTERS))


def _argument_text(arg: Any) -> str:
    if type(arg) is str:
        return cut_text(arg, MAX_MESSAGE_CHARACTERS)
    written = [Conversion(_ARGUMENT_NODES, inside_exception=True).convert(arg)]
    cut_strings(written, MAX_MESSAGE_CHARACTERS)
    return str(written[0])


_MAX_KEY_PARTS: Final = 16


def _range_size(value: range) -> int:
    # len() refuses more than 2**63.
    return max(0, -((value.start - value.stop) // value.step))


_ARRAY_TYPES: Final[tuple[Any, ...]] = (
    list,
    tuple,
    set,
    frozenset,
    deque,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
#: By the identity of the type: how many items, and how to iterate over them.
_ARRAYS: Final[dict[int, tuple[Callable[[Any], int], Callable[[Any], Iterator[Any]]]]] = {
    **{id(known): (known.__len__, known.__iter__) for known in _ARRAY_TYPES},
    id(range): (_range_size, range.__iter__),
}

#: By the identity of the type; these live as long as the process.
_BUILT_IN_WAYS: Final[dict[int, _Way]] = {
    id(known): _way_of(known)
    for known in (dict, *_ARRAY_TYPES, range, str, bytes, *MOMENTS, timedelta)
}
