"""The known types that are written as a single value: the upper half of the table of
``docs/event-format.md`` as code.

Pure functions for ``plain_values``. Each takes a value whose class is or inherits from the type
that it is filed under, and reads it through that type alone, so that what a subclass overrides is
never run. Types of modules that a program may not have loaded are looked up by name, because where
``decimal`` is not loaded there is no ``Decimal``, and loading it costs more than all of this.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import sys
from datetime import time, timedelta, timezone
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from sessionbat._encoding.class_facts import (
    MOMENTS,
    instance_dict,
    is_a,
    library_of,
    loaded,
    mro_of,
    name_of,
    namespace_of,
    slot_value,
    type_name,
)
from sessionbat._encoding.cutting import cut_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo

MAX_BASE64_BYTES: Final = 1024
#: So much of a value is hashed: 0.7 ms of the caller's time at 1.4 GB/s.
MAX_HASHED_BYTES: Final = 1024 * 1024
#: So many columns of a frame are described.
_MAX_COLUMNS: Final = 100
_MAX_NUMBER_CHARACTERS: Final = 16 * 1024

MASKED: Final = "**********"
_INT64: Final = range(-(1 << 63), 1 << 64)  # what orjson takes as a number
# Printing in decimal takes quadratic time, so Python refuses it beyond 4,300 digits
# (CVE-2020-10735), unless the host allowed it.
_MAX_DECIMAL_BITS: Final = 14_000
_MAX_HEX_BITS: Final = 64_000
_ARRAY_LIBRARIES: Final = frozenset(
    {"numpy", "pandas", "torch", "tensorflow", "jax", "jaxlib", "polars", "PIL", "cupy", "xarray"}
)
#: Whose time zones may be asked for their offset.
_TIME_ZONE_LIBRARIES: Final = frozenset({"zoneinfo", "pytz", "dateutil", "pandas"})


def number_of(value: int) -> int | str:
    """Keep an integer of up to 64 bits a number; a wider one becomes its digits."""
    if value in _INT64:
        return value
    bits = value.bit_length()
    if bits <= _MAX_DECIMAL_BITS:
        return str(value)
    return hex(value) if bits <= _MAX_HEX_BITS else f"<integer of {bits} bits>"


def leaf_writer(kind: type) -> Callable[[Any], Any] | None:
    """Find what writes a class as a single value; None for containers and for the unknown."""
    ancestors = mro_of(kind)
    for ancestor in ancestors:
        # By identity: a metaclass may define what it means to be equal, or to have a hash.
        writer = _WRITERS.get(id(ancestor))
        if writer is not None:
            return writer
    for ancestor in ancestors:
        writer = _loaded_type_writer(ancestor)
        if writer is not None:
            return writer
    return None


def is_secret(kind: type) -> bool:
    """Whether a class is one of pydantic's secrets, which is never to be read."""
    return any(
        name_of(ancestor).startswith(("Secret", "_Secret")) and library_of(ancestor) == "pydantic"
        for ancestor in mro_of(kind)
    )


def _loaded_type_writer(kind: type) -> Callable[[Any], Any] | None:
    """Find the writer of a type by its name, if that is really the type of this name."""
    library = library_of(kind)
    writer = _LOADED_WRITERS.get((library, name_of(kind)))
    return writer if writer is not None and loaded(kind, library) else None


def as_number(value: Any) -> Any:
    """Take a Decimal or Fraction for the number it is; anything else stays as it is."""
    if _loaded_type_writer(type(value)) not in (_decimal_text, _fraction_text):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    return number if isfinite(number) else value


def is_array(kind: type) -> bool:
    """Whether a class comes from, or inherits from, a library of arrays, frames and images."""
    return any(library_of(ancestor) in _ARRAY_LIBRARIES for ancestor in mro_of(kind))


def describe_array(value: Any) -> Any:
    """Describe an array, frame, tensor or image by its shape; other objects by their name."""
    kind = type(value)
    size = _library_attribute(value, "shape")
    is_image = any(library_of(ancestor) == "PIL" for ancestor in mro_of(kind))
    if is_image:
        size = _library_attribute(value, "size")
    if size is None:
        return type_name(kind)
    summary: dict[str, Any] = {"type": type_name(kind)[1:-1], "shape": list(islice(size, 64))}
    dtype = _library_attribute(value, "mode" if is_image else "dtype")
    if dtype is not None:
        return summary | {"dtype": cut_text(str(dtype), _MAX_COLUMNS)}
    columns = _library_attribute(value, "dtypes")
    dtypes = () if columns is None else islice(columns, _MAX_COLUMNS)
    return summary | {"dtype": [cut_text(str(dtype), _MAX_COLUMNS) for dtype in dtypes]}


def _library_attribute(value: Any, name: str) -> Any:
    """Read an attribute as the array library defines it, whatever a subclass made of it."""
    kind = type(value)
    for ancestor in mro_of(kind):
        attribute = namespace_of(ancestor).get(name)
        if attribute is not None and library_of(ancestor) in _ARRAY_LIBRARIES:
            getter = getattr(attribute, "__get__", None)
            return attribute if getter is None else getter(value, kind)
    return instance_dict(value).get(name)


def moment_of(value: datetime) -> datetime | None:
    """Copy a datetime of any class into a plain one; None if its time zone is not known."""
    zone = _TZINFO_OF(value)
    if not _is_known_zone(zone):
        return None
    plain = MOMENTS.datetime.fromisoformat(MOMENTS.datetime.isoformat(value))
    # The text of a naive time does not say which of two equal hours it is in.
    return plain.replace(fold=_FOLD_OF(value))


def _is_known_zone(zone: tzinfo | None) -> bool:
    kind = type(zone)
    return zone is None or kind is timezone or library_of(kind) in _TIME_ZONE_LIBRARIES


def _datetime_text(value: datetime) -> str | None:
    if name_of(type(value)) == "NaTType":  # pandas says "no time" with a datetime of the year 1
        return None
    zone = _TZINFO_OF(value)
    if _is_known_zone(zone):
        return MOMENTS.datetime.isoformat(value)
    naive = MOMENTS.datetime(*(read(value) for read in _DATETIME_PARTS))
    return naive.isoformat() + type_name(type(zone))


def _time_text(value: time) -> str:
    zone = _TIME_ZONE_OF(value)
    if _is_known_zone(zone):
        return time.isoformat(value)
    return time(*(read(value) for read in _TIME_PARTS)).isoformat() + type_name(type(zone))


def _fraction_text(value: Any) -> str:
    numerator = slot_value(value, "_numerator")
    denominator = slot_value(value, "_denominator")
    if type(numerator) is not int or type(denominator) is not int:
        return type_name(type(value))
    numerator_text = str(number_of(numerator))
    return numerator_text if denominator == 1 else f"{numerator_text}/{number_of(denominator)}"


def _uuid_text(value: Any) -> str:
    number = slot_value(value, "int")
    if type(number) is not int:
        return type_name(type(value))
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _path_text(value: Any) -> str:
    # Such classes are written in Python upon each other's methods: of a subclass, any of them may
    # be its own.
    kind = type(value)
    return str(value) if library_of(kind) in _PRINT_THEMSELVES else type_name(kind)


_PRINT_THEMSELVES: Final = frozenset({"pathlib", "ipaddress", "httpx", "yarl"})


def _url_text(value: Any) -> str:
    return _PASSWORD.sub(_MASKED_PASSWORD, _path_text(value))


def _pydantic_url_text(value: Any) -> str:
    inner = instance_dict(value).get("_url", value)
    kind = type(inner)
    if library_of(kind) != "pydantic_core":
        return type_name(type(value))
    return _PASSWORD.sub(_MASKED_PASSWORD, str(inner))


#: Of each host of a URL that names a user.
_PASSWORD: Final = re.compile(r"((?:(?<=://)|(?<=,))[^/?#@:,]*:)[^/?#@]*@")
_MASKED_PASSWORD: Final = rf"\g<1>{MASKED}@"


def _user_text(value: Any) -> str:
    data = instance_dict(value).get("data")
    return str.__str__(data) if is_a(type(data), str) else type_name(type(value))


def _pattern_text(value: Any) -> Any:
    source = value.pattern  # its class is the interpreter's: nobody can inherit from it
    return _bytes_summary(source) if type(source) is bytes else source


def _zone_text(value: Any) -> str:
    key = slot_value(value, "key")
    return key if type(key) is str else type_name(type(value))


def _c_array_summary(value: Any) -> dict[str, Any]:
    own = vars(sys.modules["array"])["array"]
    shape, typecode = [own.__len__(value)], own.__dict__["typecode"].__get__(value)
    return {"type": "array.array", "shape": shape, "dtype": typecode}


def _decimal_text(value: Any) -> str:
    return cut_text(sys.modules["decimal"].Decimal.__str__(value), _MAX_NUMBER_CHARACTERS)


def _numpy_scalar(value: Any) -> Any:
    generic = sys.modules["numpy"].generic
    dtype_kind = generic.dtype.__get__(value).kind
    if dtype_kind == "M":
        text = str(sys.modules["numpy"].datetime_as_string(value))
        return None if text == "NaT" else text
    if dtype_kind == "m":
        seconds = generic.astype(value, "timedelta64[us]").item()
        return None if seconds is None else seconds.total_seconds()
    if dtype_kind in "fc":
        # The widest of them have no counterpart in Python: item() would return them unchanged.
        value = generic.astype(value, "float64" if dtype_kind == "f" else "complex128")
    item = generic.item(value)
    if type(item) is int:
        return number_of(item)
    if type(item) is complex:
        return complex.__repr__(item)
    return item if type(item) in (bool, float) else type_name(type(value))


def describe_bytes(size: int, data: bytes) -> dict[str, Any]:
    """Describe bytes: short ones whole, of longer ones the SHA-256 of what is given.

    Args:
        size: How many there are.
        data: The first ``MAX_HASHED_BYTES`` of them.
    """
    summary: dict[str, Any] = {"type": "bytes", "size": size}
    if size <= MAX_BASE64_BYTES:
        summary["base64"] = binascii.b2a_base64(data, newline=False).decode("ascii")
    elif len(data) == size:
        summary["sha256"] = hashlib.sha256(data).hexdigest()
    else:
        summary["sha256_of_first_mib"] = hashlib.sha256(data).hexdigest()
    return summary


# A copy of the head each time: a view would forbid the host to resize its bytearray meanwhile.
_HEAD: Final = slice(0, MAX_HASHED_BYTES)


def _bytes_summary(value: bytes) -> dict[str, Any]:
    return describe_bytes(bytes.__len__(value), bytes.__getitem__(value, _HEAD))


def _bytearray_summary(value: bytearray) -> dict[str, Any]:
    head = bytes(bytearray.__getitem__(value, _HEAD))
    # Another thread may resize it between these two lines.
    whole = len(head) < MAX_HASHED_BYTES
    return describe_bytes(len(head) if whole else bytearray.__len__(value), head)


def _memoryview_summary(value: memoryview) -> dict[str, Any]:
    if value.nbytes <= MAX_HASHED_BYTES:
        return describe_bytes(value.nbytes, value.tobytes())
    if value.c_contiguous and value.format == "B":
        return describe_bytes(value.nbytes, value.cast("B")[_HEAD].tobytes())
    return {"type": "bytes", "size": value.nbytes}


_TZINFO_OF: Final[Callable[[datetime], tzinfo | None]] = MOMENTS.datetime.__dict__["tzinfo"].__get__
_FOLD_OF: Final[Callable[[datetime], int]] = MOMENTS.datetime.__dict__["fold"].__get__
_TIME_ZONE_OF: Final[Callable[[time], tzinfo | None]] = time.__dict__["tzinfo"].__get__
_TIME_PARTS: Final = [
    time.__dict__[name].__get__ for name in ("hour", "minute", "second", "microsecond")
]
_DATETIME_PARTS: Final = [
    *(MOMENTS.date.__dict__[name].__get__ for name in ("year", "month", "day")),
    *(
        MOMENTS.datetime.__dict__[name].__get__
        for name in ("hour", "minute", "second", "microsecond")
    ),
]

_BY_TYPE: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: lambda v: number_of(int.__int__(v)),
    float: float.__float__,
    complex: complex.__repr__,
    MOMENTS.datetime: _datetime_text,
    MOMENTS.date: MOMENTS.date.isoformat,
    time: _time_text,
    timedelta: timedelta.total_seconds,
    timezone: timezone.__str__,
    bytes: _bytes_summary,
    bytearray: _bytearray_summary,
    memoryview: _memoryview_summary,
}
_WRITERS: Final = {id(known): writer for known, writer in _BY_TYPE.items()}

#: By the top-level module and name of the type.
_LOADED_WRITERS: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    ("decimal", "Decimal"): _decimal_text,
    ("fractions", "Fraction"): _fraction_text,
    ("uuid", "UUID"): _uuid_text,
    ("pathlib", "PurePath"): _path_text,
    ("numpy", "generic"): _numpy_scalar,
    ("collections", "UserString"): _user_text,
    ("re", "Pattern"): _pattern_text,
    ("zoneinfo", "ZoneInfo"): _zone_text,
    ("array", "array"): _c_array_summary,
    **{
        ("ipaddress", f"IPv{version}{what}"): _path_text
        for version in (4, 6)
        for what in ("Address", "Network", "Interface")
    },
    ("httpx", "URL"): _url_text,
    ("yarl", "URL"): _url_text,
    ("pydantic", "_BaseUrl"): _pydantic_url_text,
    ("pydantic", "_BaseMultiHostUrl"): _pydantic_url_text,
    ("pydantic_core", "Url"): _pydantic_url_text,
    ("pydantic_core", "MultiHostUrl"): _pydantic_url_text,
}
