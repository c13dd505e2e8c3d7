"""How the objects of each class are read, decided once for a class: the ways of ``plain_values``.

A way takes the conversion under way and a value. It returns what a leaf becomes, or opens a
container, which the conversion then fills. No method of an unknown class is called.
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
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sessionbat._encoding.class_facts import (
    MOMENTS,
    instance_dict,
    is_a,
    is_iterator,
    mro_of,
    type_name,
)
from sessionbat._encoding.fields import fields_of
from sessionbat._encoding.known_types import (
    MASKED,
    describe_array,
    is_array,
    is_secret,
    leaf_writer,
)
from sessionbat._encoding.records import holder_of, pairs_of

if TYPE_CHECKING:
    from sessionbat._encoding.plain_values import Conversion

Way: TypeAlias = "Callable[[Conversion, Any], Any]"

_NOT_CONSUMED: Final = "<generator>"
_READ_TRIES: Final = 20


def way_of(kind: type) -> Way:
    """Decide how the objects of a class are converted."""
    if is_secret(kind):
        return _always(MASKED)
    if is_a(kind, Enum):
        return _begin_enum
    writer = leaf_writer(kind)
    if writer is not None:
        return lambda _, value: writer(value)
    if is_a(kind, BaseException):
        return lambda conversion, value: conversion.begin_exception(value)
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


def _always(text: str) -> Way:
    return lambda *_: text


def _begin_enum(conversion: Conversion, value: Any) -> Any:
    """Convert a member of an enumeration as its value."""
    stored = instance_dict(value)["_value_"]
    return type_name(type(value)) if is_a(type(stored), Enum) else conversion.begin(stored)


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


def _way_of_records(kind: type, named: type | None = None) -> Way | None:
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


def _way_of_items(kind: type) -> Way | None:
    for ancestor in mro_of(kind):
        known = _ARRAYS.get(id(ancestor))
        if known is not None:
            size, iterate = known
            return lambda conversion, value: conversion.begin_array(
                value, size(value), partial(_first_of, iterate, value)
            )
    return None


def _way_of_fields(kind: type) -> Way | None:
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
BUILT_IN_WAYS: Final[dict[int, Way]] = {
    id(known): way_of(known)
    for known in (dict, *_ARRAY_TYPES, range, str, bytes, *MOMENTS, timedelta)
}
