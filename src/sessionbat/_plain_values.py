"""Known Python types → values that JSON knows: the table of ``docs/event-format.md`` as code.

Pure functions for ``_encoding``. What is not known by its type becomes its name in angle brackets:
no method of an unknown class is ever called, so recording cannot block, recurse or have effects.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections import deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import FunctionType, MappingProxyType, MemberDescriptorType, NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sessionbat._cutting import cut_text

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_KEY_CHARACTERS: Final = 1024
MAX_BASE64_BYTES: Final = 1024

SCALARS: Final = frozenset({int, float, bool, NoneType})

_MASKED: Final = "**********"
_NOT_CONSUMED: Final = "<generator>"
_INT64: Final = range(-(1 << 63), 1 << 64)  # what orjson takes as a number
_ARRAY_LIBRARIES: Final = frozenset(
    {"numpy", "pandas", "torch", "tensorflow", "jax", "jaxlib", "polars", "PIL", "cupy", "xarray"}
)


def to_plain(value: object) -> Any:
    """Rebuild a value from dicts, lists, strings, numbers, booleans and None; never raises."""
    return _Walk().convert(value, 0)


def mend_text(text: str) -> str:
    """Return the text as valid Unicode: surrogate pairs are joined, lone ones become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def type_name(kind: type) -> str:
    """Name a class as ``<module.Class>`` without asking the class anything."""
    try:
        module = type.__getattribute__(kind, "__module__")
        name = type.__getattribute__(kind, "__qualname__")
        return mend_text(f"<{module}.{name}>") if type(module) is str else f"<{name}>"
    except Exception:  # noqa: BLE001 - a class may delete its own names
        return "<object>"


def describe_exception(error: BaseException) -> dict[str, str]:
    """Describe an exception as ``{"type", "message"}`` without running Python's ``__str__``."""
    return {"type": type(error).__name__, "message": mend_text(_exception_message(error))}


class _Walk:
    """One conversion: how many nodes are left, and which containers are open above."""

    __slots__ = ("nodes_left", "open_ids")

    def __init__(self) -> None:
        self.nodes_left = MAX_NODES
        self.open_ids: set[int] = set()

    def convert(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return mend_text(value)  # type: ignore[arg-type]
        if kind is bool or value is None or kind is float:
            return value
        if kind is int:
            return value if value in _INT64 else _wide_int(value)  # type: ignore[arg-type]
        try:
            return self._convert_other(value, kind, depth)
        except Exception:  # noqa: BLE001 - a known type in a broken state; its name remains
            return type_name(kind)

    def _convert_other(self, value: Any, kind: type, depth: int) -> Any:
        for ancestor in type.__getattribute__(kind, "__mro__"):
            leaf = _LEAVES.get(ancestor)
            if leaf is not None:
                converted = leaf(value)
                return self.convert(converted, depth) if ancestor is Enum else converted
        if kind.__module__.partition(".")[0] in _ARRAY_LIBRARIES:
            return self.convert(_array_summary(value, kind), depth)
        if _is_secret(kind):
            return _MASKED
        return self._convert_container(value, kind, depth)

    def _convert_container(self, value: Any, kind: type, depth: int) -> Any:
        parts = _parts(value, kind)
        if parts is None:
            return type_name(value if isinstance(value, type) else kind)
        if type(parts) is str:
            return parts
        if id(value) in self.open_ids:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return "<depth>"
        self.open_ids.add(id(value))
        try:
            if type(parts) is dict:
                return self._object(list(parts.items()), depth + 1)
            return self._array(parts, depth + 1)
        finally:
            self.open_ids.discard(id(value))

    def _object(self, pairs: list[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        converted: dict[str, Any] = {}
        for done, (key, value) in enumerate(pairs):
            if self.nodes_left <= 0:
                converted[f"<{len(pairs) - done} more>"] = None
                break
            self.nodes_left -= 1
            converted[_free_key(_key_text(key), converted)] = self.convert(value, depth)
        return converted

    def _array(self, items: Any, depth: int) -> list[Any]:
        converted: list[Any] = []
        for done, item in enumerate(items):
            if self.nodes_left <= 0:
                converted.append(f"<{len(items) - done} more>")
                break
            self.nodes_left -= 1
            converted.append(self.convert(item, depth))
        return converted


def _parts(value: Any, kind: type) -> Any:
    """What a container holds, read in one step that other threads cannot disturb.

    A dict for objects, a sequence for arrays, a text for what is not to be read, None if unknown.
    """
    if has_base(kind, dict):
        return dict(dict.items(value)) if kind is not dict else value.copy()
    fields = _field_names(kind)
    if fields is not None:
        return _stored_fields(value, fields)
    for base, read in _SEQUENCES.items():
        if has_base(kind, base):
            return read(value)
    if kind is MappingProxyType:
        return dict(value)
    if any("__next__" in k.__dict__ or "__anext__" in k.__dict__ for k in kind.__mro__):
        return _NOT_CONSUMED
    if issubclass(kind, BaseException):
        return describe_exception(value)
    return None


def has_base(kind: type, base: type) -> bool:
    """Whether a class has ``base`` among its ancestors, without ``__instancecheck__`` hooks."""
    return base in type.__getattribute__(kind, "__mro__")


def _field_names(kind: type) -> list[str] | None:
    """Name the fields of a dataclass, attrs, pydantic or namedtuple class; None for any other."""
    if has_base(kind, tuple):
        names = _static(kind, "_fields")
        return list(names) if type(names) is tuple else None
    for marker in ("__dataclass_fields__", "__pydantic_fields__", "__fields__"):
        names = _static(kind, marker)
        if isinstance(names, dict):
            return list(names)
    attrs = _static(kind, "__attrs_attrs__")
    if isinstance(attrs, tuple):
        return [attribute.name for attribute in attrs]
    return None


def _static(kind: type, name: str) -> Any:
    for ancestor in type.__getattribute__(kind, "__mro__"):
        if name in ancestor.__dict__:
            return ancestor.__dict__[name]
    return None


def _stored_fields(value: Any, names: list[str]) -> dict[str, Any]:
    """Read fields where they are stored; a property or ``__getattr__`` is never asked."""
    if isinstance(value, tuple):
        return dict(zip(names, tuple.__iter__(value), strict=False))
    stored = _instance_dict(value)
    fields = {}
    for name in names:
        if name in stored:
            fields[name] = stored[name]
            continue
        slot = _static(type(value), name)
        if isinstance(slot, MemberDescriptorType):
            fields[name] = slot.__get__(value)
    extra = _static(type(value), "__pydantic_extra__")
    if isinstance(extra, MemberDescriptorType):
        fields.update(extra.__get__(value) or {})
    return fields


def _instance_dict(value: Any) -> dict[str, Any]:
    try:
        stored = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return stored if type(stored) is dict else {}


def _is_secret(kind: type) -> bool:
    return kind.__module__.startswith("pydantic") and kind.__name__.startswith("Secret")


def _key_text(key: Any) -> str:
    kind = type(key)
    if kind is str:
        text = mend_text(key)
    elif has_base(kind, Enum):
        text = _key_text(key._value_)
    elif has_base(kind, str):
        text = mend_text(str.__str__(key))
    elif kind in _NAMED_BY_STR or (kind is tuple and all(type(k) in _NAMED_BY_STR for k in key)):
        text = mend_text(str(key))
    else:
        text = type_name(kind)
    return text if len(text) <= MAX_KEY_CHARACTERS else cut_text(text, MAX_KEY_CHARACTERS)


def _free_key(key: str, taken: dict[str, Any]) -> str:
    if key not in taken:
        return key
    number = 2
    while f"{key}#{number}" in taken:
        number += 1
    return f"{key}#{number}"


def _wide_int(value: int) -> str:
    # Python refuses to print very long integers in decimal (CVE-2020-10735); hex is always allowed.
    try:
        return str(value)
    except ValueError:
        return hex(value)


def _subclass_int(value: int) -> int | str:
    plain = int.__int__(value)
    return plain if plain in _INT64 else _wide_int(plain)


def _bytes_summary(value: Any) -> dict[str, Any]:
    data = memoryview(value).cast("B") if memoryview(value).contiguous else memoryview(bytes(value))
    summary: dict[str, Any] = {"type": "bytes", "size": data.nbytes}
    if data.nbytes <= MAX_BASE64_BYTES:
        summary["base64"] = base64.b64encode(data).decode("ascii")
    else:
        summary["sha256"] = hashlib.sha256(data).hexdigest()
    return summary


def _exception_message(error: BaseException) -> str:
    args = error.args
    printable = all(type(arg) in _NAMED_BY_STR for arg in args)
    if printable and not isinstance(type(error).__str__, FunctionType):
        return str(error)
    return ", ".join(str(a) if type(a) in _NAMED_BY_STR else type_name(type(a)) for a in args)


def _array_summary(value: Any, kind: type) -> Any:
    """Describe an array, frame, tensor or image; a numpy scalar becomes its number."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    summary: dict[str, Any] = {"type": type_name(kind)[1:-1]}
    if kind.__module__.startswith("PIL"):
        return summary | {"shape": list(value.size), "dtype": str(value.mode)}
    shape = getattr(value, "shape", None)
    if shape is None:
        return type_name(kind)
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        dtypes = getattr(value, "dtypes", ())
        return summary | {"shape": list(shape), "dtype": [str(d) for d in dtypes]}
    return summary | {"shape": list(shape), "dtype": str(dtype)}


_LEAVES: Final[dict[type, Callable[[Any], Any]]] = {
    Enum: lambda v: v._value_,
    str: lambda v: mend_text(str.__str__(v)),
    int: _subclass_int,
    float: float.__float__,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
    Decimal: Decimal.__str__,
    Fraction: Fraction.__str__,
    complex: lambda v: str(complex(v)),
    UUID: UUID.__str__,
    PurePath: lambda v: mend_text(PurePath.__str__(v)),
    bytes: _bytes_summary,
    bytearray: _bytes_summary,
    memoryview: _bytes_summary,
}

_SEQUENCES: Final[dict[type, Callable[[Any], Any]]] = {
    list: lambda v: [*list.__iter__(v)],
    tuple: lambda v: [*tuple.__iter__(v)],
    set: lambda v: [*set.__iter__(v)],
    frozenset: lambda v: [*frozenset.__iter__(v)],
    deque: lambda v: [*deque.__iter__(v)],
    range: lambda v: v,
    type({}.keys()): list,
    type({}.values()): list,
    type({}.items()): list,
}

_NAMED_BY_STR: Final = frozenset(
    {str, int, float, bool, NoneType, complex, bytes, UUID, Decimal, Fraction, date, datetime}
)
