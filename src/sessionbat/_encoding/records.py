"""Mappings, lists and records that are no dict, list or dataclass: where they keep what they hold.

For ``plain_values``. Storage is read as the interpreter laid it out, so nothing of a host's class
runs: no ``__getitem__``, no ``__iter__``, no property.
"""

from __future__ import annotations

import sys
from gc import get_referents
from itertools import islice
from types import MappingProxyType, MemberDescriptorType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessionbat._encoding.class_facts import (
    instance_dict,
    is_a,
    loaded,
    mro_of,
    name_of,
    namespace_of,
    slot_value,
    static_of,
)
from sessionbat._encoding.known_types import MASKED

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of each mapping of a chain no more are looked at: as many as an event holds nodes.
_MAX_MERGED: Final = 50_000
_MISSING: Final = object()
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"}
)
#: A mapping of everything that a process was started with, keys of every service included.
_NEVER_SHOWN: Final = (("os", "_Environ"),)

Pairs = list[tuple[Any, Any]]


class Held(NamedTuple):
    """The names and values of a record; of a very large one the first, and how many there are."""

    pairs: Pairs
    size: int


def holder_of(kind: type) -> Callable[[Any], Any] | None:
    """Find what gets the container in which the objects of a class keep their items.

    The result raises ``LookupError`` where an object keeps none.
    """
    for ancestor in mro_of(kind):
        if name_of(ancestor) in ("UserDict", "UserList") and loaded(ancestor, "collections"):
            return _data_of
    if _is_mapping(kind) and not any(loaded(kind, *place) for place in _NEVER_SHOWN):
        return _only_mapping_of
    return None


def pairs_of(kind: type) -> Callable[[Any], Held] | None:
    """Find what lists names and values of the records of a class."""
    for ancestor in mro_of(kind):
        if ancestor is SimpleNamespace:
            return _namespace_pairs
        for place, read in _LOADED_PAIRS.items():
            if name_of(ancestor) == place[1] and loaded(ancestor, *place):
                return read
    names = _public_slots(kind)
    return None if not names else lambda value: _slot_pairs(value, names)


def _data_of(value: Any) -> Any:
    return instance_dict(value)["data"]


def _is_mapping(kind: type) -> bool:
    # By what it defines: asking ``Mapping`` would ask each class that was ever registered with it.
    return all(static_of(kind, name) is not None for name in ("keys", "__getitem__", "__iter__"))


def _only_mapping_of(value: Any) -> Any:
    """Get the one dict that a mapping of an unknown class keeps; of several, nobody can say."""
    kind = type(value)
    stored = list(instance_dict(value).values())
    for ancestor in mro_of(kind):
        if "__slots__" in namespace_of(ancestor):
            names = [n for n, d in namespace_of(ancestor).items() if _is_slot(d)]
            stored += [slot_value(value, name) for name in names]
    found = [each for each in stored if is_a(type(each), dict) or type(each) is MappingProxyType]
    if len(found) != 1:
        raise LookupError
    return found[0]


def _is_slot(descriptor: object) -> bool:
    return type(descriptor) is MemberDescriptorType


def _public_slots(kind: type) -> list[str]:
    """List the slots of a class whose objects are nothing else: they have no ``__dict__``."""
    if static_of(kind, "__dict__") is not None:
        return []
    return [
        name
        for ancestor in reversed(mro_of(kind))
        if "__slots__" in namespace_of(ancestor)
        for name, descriptor in namespace_of(ancestor).items()
        if _is_slot(descriptor) and not name.startswith("_")
    ]


def _slot_pairs(value: Any, names: list[str]) -> Held:
    read = ((name, slot_value(value, name, _MISSING)) for name in names)
    return _all([(name, field) for name, field in read if field is not _MISSING])


def _all(pairs: Pairs) -> Held:
    return Held(pairs, len(pairs))


_NAMESPACE_OF: Final[Callable[[SimpleNamespace], dict[str, Any]]] = SimpleNamespace.__dict__[
    "__dict__"
].__get__


def _namespace_pairs(value: Any) -> Held:
    return _all(list(_NAMESPACE_OF(value).copy().items()))


def _attribute_pairs(value: Any) -> Held:
    return _all(list(instance_dict(value).copy().items()))


def _chain_pairs(value: Any) -> Held:
    """Merge the mappings of a chain as its own ``items`` would: the first that has a key wins."""
    merged: dict[Any, tuple[Any, Any]] = {}
    left_out = 0
    for mapping in reversed(_mappings_of(value)):
        for key, item in list(islice(dict.items(mapping), _MAX_MERGED)):
            merged[_identity(key)] = key, item
        left_out += max(0, dict.__len__(mapping) - _MAX_MERGED)
    return Held(list(merged.values()), len(merged) + left_out)


def _mappings_of(chain: Any) -> list[Any]:
    """List the dicts of a chain, also those of chains and mappings in it; each once."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [chain]
    while waiting:
        mapping = waiting.pop()
        kind = type(mapping)
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        if is_a(kind, dict):
            found.append(mapping)
        elif kind is MappingProxyType:
            waiting.append(get_referents(mapping)[0])
        elif pairs_of(kind) is _chain_pairs:
            waiting += reversed(list.copy(instance_dict(mapping)["maps"]))
        elif (hold := holder_of(kind)) is not None:
            waiting.append(hold(mapping))
    return found


def _identity(key: Any) -> Any:
    # A key of an unknown class is asked neither for its hash nor whether it equals another.
    return key if type(key) in (str, int, float, bool, bytes, type(None)) else ("", id(key))


def _row_pairs(value: Any) -> Held:
    row = vars(sys.modules["sqlite3"])["Row"]
    return _all(list(zip(row.keys(value), row.__iter__(value), strict=True)))


def _header_pairs(value: Any) -> Held:
    """List the headers of an httpx message; what identifies its sender is masked."""
    pairs = []
    for _, name, field in list.copy(instance_dict(value)["_list"]):
        text = bytes(name).decode("latin-1")
        is_secret = text in _SECRET_HEADERS
        pairs.append((text, MASKED if is_secret else bytes(field).decode("latin-1")))
    return _all(pairs)


#: By the top-level module and name of the class.
_LOADED_PAIRS: Final[dict[tuple[str, str], Callable[[Any], Held]]] = {
    ("collections", "ChainMap"): _chain_pairs,
    ("argparse", "Namespace"): _attribute_pairs,
    ("sqlite3", "Row"): _row_pairs,
    ("httpx", "Headers"): _header_pairs,
}
