"""What a class is, read from its C structure without asking the class or its objects anything.

``isinstance`` reads ``__class__`` of the object, ``kind.__name__`` and a set of classes ask the
metaclass: each may be a stranger's code that blocks, raises or has effects (a lazy object loads,
a mock records the access). Nothing in this file runs any of it.
"""

from __future__ import annotations

import datetime
import sys
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessionbat._encoding.cutting import mend_text

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_NAME_CHARACTERS: Final = 256

#: The ancestors of a class in the order of lookup, itself first.
mro_of: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
#: What the body of a class defined.
namespace_of: Final[Callable[[type], MappingProxyType[str, Any]]] = type.__dict__[
    "__dict__"
].__get__
_module: Final[Callable[[type], object]] = type.__dict__["__module__"].__get__
_qualname: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__
#: The short name of a class.
name_of: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__


class Moments(NamedTuple):
    """The interpreter's own classes of dates and times."""

    date: type[datetime.date]
    datetime: type[datetime.datetime]


def _own_class(parent: type, name: str, part: str) -> Any:
    """Find the interpreter's class of a name that a test of the host may have replaced."""
    children: list[type] = type.__subclasses__(parent)
    for kind in children:
        if (
            _qualname(kind) == name
            and _module(kind) == "datetime"
            and type(namespace_of(kind).get(part)) is GetSetDescriptorType
        ):
            return kind
    return getattr(datetime, name)  # an interpreter whose classes are written in Python


def _own_moments() -> Moments:
    date = _own_class(object, "date", "year")
    return Moments(date, _own_class(date, "datetime", "tzinfo"))


#: In a tuple, because freezegun replaces the classes wherever a module names them.
MOMENTS: Final = _own_moments()


def module_of(kind: type) -> str:
    """Name the module of a class; empty where the class hides it."""
    try:
        module = _module(kind)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def library_of(kind: type) -> str:
    """Name the top-level package that a class comes from."""
    return module_of(kind).partition(".")[0]


def type_name(kind: type) -> str:
    """Name a class as ``<module.Class>``."""
    module = module_of(kind)
    name = _qualname(kind)
    text = f"{module}.{name}" if module else name
    return f"<{mend_text(text[:_MAX_NAME_CHARACTERS])}>"


def loaded(kind: type, library: str, name: str | None = None) -> bool:
    """Whether a class is really that of a library, and not only named alike."""
    module, own_name = module_of(kind), name_of(kind)
    if module.partition(".")[0] != library or own_name != (name or own_name):
        return False
    found = sys.modules.get(module)
    return found is not None and vars(found).get(own_name) is kind


def is_a(kind: type, base: type) -> bool:
    """Whether a class is another or inherits from it."""
    return any(ancestor is base for ancestor in mro_of(kind))


def static_of(kind: type, name: str) -> Any:
    """Find what a class or its ancestors define under a name, unbound; None if nothing."""
    for ancestor in mro_of(kind):
        namespace = namespace_of(ancestor)
        if name in namespace:
            return namespace[name]
    return None


def instance_dict(value: object) -> dict[str, Any]:
    """Get the dict where an object stores its attributes; an empty one if it has none."""
    slot = static_of(type(value), "__dict__")
    # Only the one that the interpreter made: a class may define a property of this name.
    if type(slot) is not GetSetDescriptorType:
        return {}
    stored = slot.__get__(value)
    return stored if type(stored) is dict else {}


def slot_value(value: object, name: str, missing: object = None) -> Any:
    """Read a ``__slots__`` entry of an object; ``missing`` where there is none or it is unset."""
    slot = static_of(type(value), name)
    if type(slot) is not MemberDescriptorType:
        return missing
    try:
        return slot.__get__(value)
    except AttributeError:
        return missing


def is_iterator(kind: type) -> bool:
    """Whether a class is a generator, an iterator or a file."""
    return any(
        "__next__" in namespace_of(ancestor) or "__anext__" in namespace_of(ancestor)
        for ancestor in mro_of(kind)
    )
