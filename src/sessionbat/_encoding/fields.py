"""The fields of a class that declares them: dataclass, attrs, pydantic, namedtuple.

For ``plain_values``. Fields are read where they are stored; no code of the class runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sessionbat._encoding.class_facts import instance_dict, is_a, slot_value, static_of


def fields_of(kind: type) -> Callable[[Any], list[tuple[Any, Any]]] | None:
    """Find how the names and values of an object's fields are read; None for any other class."""
    names: Any
    if is_a(kind, tuple):
        names, read = static_of(kind, "_fields"), _tuple_fields
    else:
        names, read = _declared_fields(kind), _stored_fields
    return partial(read, names) if type(names) is tuple else None


def _tuple_fields(names: tuple[Any, ...], value: Any) -> list[tuple[Any, Any]]:
    items = list(tuple.__iter__(value))
    # What has no name, because the class says otherwise than it is, goes by its place.
    return list(zip([*names[: len(items)], *range(len(names), len(items))], items, strict=True))


def _stored_fields(names: tuple[Any, ...], value: Any) -> list[tuple[Any, Any]]:
    """Read fields where they are stored; a property or ``__getattr__`` is never asked."""
    stored = instance_dict(value)
    fields = []
    for name in names:
        field = stored.get(name, _MISSING) if type(name) is str else _MISSING
        if field is _MISSING:
            field = slot_value(value, name, _MISSING)
        if field is not _MISSING:
            fields.append((name, field))
    extra = slot_value(value, "__pydantic_extra__")
    return [*fields, *extra.copy().items()] if type(extra) is dict else fields


_MISSING: Final = object()


def _declared_fields(kind: type) -> tuple[Any, ...] | None:
    for marker in ("__dataclass_fields__", "__pydantic_fields__", "model_fields", "__fields__"):
        declared = static_of(kind, marker)
        if type(declared) is dict:
            return tuple(declared)
    attributes = static_of(kind, "__attrs_attrs__")
    if is_a(type(attributes), tuple):
        return tuple(slot_value(attribute, "name") for attribute in tuple.__iter__(attributes))
    return None
