"""Any Python value → dicts, lists, strings, numbers, booleans and None: the conversion.

Called by ``encoder`` and for small things by ``well_formed`` and ``_scope``. Here are the walk, its
bounds and the keys; ``by_class`` decides how the objects of a class are read. Never raises, and
calls no method of an unknown class, so recording cannot block, recurse or have effects. Strings are
handed on as they are, however long: cutting and mending them comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final

from sessionbat._encoding.by_class import BUILT_IN_WAYS, Way, way_of
from sessionbat._encoding.class_facts import (
    instance_dict,
    is_a,
    name_of,
    type_name,
)
from sessionbat._encoding.cutting import cut_strings, cut_text, mend_text, more_mark
from sessionbat._encoding.exception_messages import MAX_MESSAGE_CHARACTERS, message_of
from sessionbat._encoding.known_types import (
    leaf_writer,
    number_of,
)

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_KEY_CHARACTERS: Final = 1024
#: All keys of a value together.
MAX_KEYS_CHARACTERS: Final = 1024 * 1024

_ARGUMENT_NODES: Final = 100
_MAX_KEY_PARTS: Final = 16


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
        self._ways: dict[int, Way] = {}
        self._kinds: list[type] = []

    def convert(self, root: object) -> Any:
        """Convert a value and everything in it."""
        converted = self.begin(root)
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
            target.append(self.begin(item))
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
            target[text] = self.begin(item)
            if len(self._open) > depth:
                return
        if container.to_come:
            target[_free_key(more_mark(container.to_come), target)] = None

    def begin(self, value: Any) -> Any:
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
        way = BUILT_IN_WAYS.get(id(kind)) or self._ways.get(id(kind))
        if way is None:
            way = self._ways[id(kind)] = way_of(kind)
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
            return self.begin(held)
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
