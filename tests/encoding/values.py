"""Values to encode, some of them traps, and how the tests look at what has become of them."""

from __future__ import annotations

import enum
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import attrs
import orjson
import pydantic
import pydantic.v1

from sessionbat._encoding import (
    encode_event,
    encode_value,
)
from sessionbat.event import MAX_EVENT_BYTES

EVENT_FORMAT = Path(__file__).parents[2] / "docs" / "event-format.md"


OBSERVATION_KEYS = {
    *("kind", "name", "started_at", "input", "output", "error", "metadata", "metrics"),
}


def parsed(line: bytes) -> Any:
    """Decode strictly: UTF-8, no NaN, no key twice, no line break."""
    assert b"\n" not in line

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "a key twice"
        return dict(pairs)

    text = line.decode("utf-8")
    value = json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    orjson.loads(line)
    return value


def written(value: object) -> Any:
    """Encode and decode one value."""
    return parsed(encode_value(value))


def event_line(max_bytes: int = MAX_EVENT_BYTES, **observation: Any) -> bytes:
    envelope = {
        "type": "llm",
        "id": "0" * 32,
        "created_at": datetime.now(UTC),
        "app": "app",
        "session_id": "session",
        "interaction_id": "interaction",
        "tags": orjson.Fragment(b"[]"),
        "context": orjson.Fragment(b"{}"),
    }
    fields = {
        "kind": "llm",
        "name": None,
        "started_at": None,
        "input": None,
        "output": None,
        "error": None,
        "metadata": {},
        "metrics": {},
    }
    return encode_event(envelope, {**fields, **observation}, max_bytes)


def observation_of(max_bytes: int = MAX_EVENT_BYTES, **observation: Any) -> dict[str, Any]:
    line = event_line(max_bytes, **observation)
    assert len(line) <= max_bytes
    decoded: dict[str, Any] = parsed(line)["observation"]
    assert decoded.keys() - {"truncated"} == OBSERVATION_KEYS
    return decoded


def cpu_ms(act: Callable[[], object]) -> float:
    """The least CPU time of two tries: what others do on this machine does not count."""
    times = []
    for _ in range(2):
        begun = time.thread_time()
        act()
        times.append((time.thread_time() - begun) * 1000)
    return min(times)


#: Which code of unknown types was run: the encoder would swallow what it raises.
SPRUNG: list[str] = []


def sprung(*args: object, **kwargs: object) -> Any:
    """Note that code of an unknown type was run, and raise."""
    SPRUNG.append(sys._getframe(1).f_code.co_qualname)
    raise AssertionError("code of an unknown type was run")


class Trap:
    """Whoever asks it anything has run code of an unknown type."""

    __class__ = property(sprung)  # type: ignore[assignment]
    __dict__ = property(sprung)  # type: ignore[assignment]
    __repr__ = __str__ = __iter__ = __len__ = __bool__ = __getattr__ = sprung
    __getattribute__ = __hash__ = __eq__ = __contains__ = __getitem__ = sprung  # type: ignore[assignment]
    __int__ = __float__ = __index__ = __bytes__ = __buffer__ = __format__ = sprung
    __reduce__ = __reduce_ex__ = __sizeof__ = __fspath__ = __call__ = sprung  # type: ignore[assignment]
    model_dump = dict = to_dict = keys = items = values = sprung


TRAP_NAME = f"<{Trap.__module__}.Trap>"


class TrapMeta(type):
    """A class that objects to being looked at."""

    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = __getattr__ = sprung  # type: ignore[assignment]
    __getattribute__ = __repr__ = __iter__ = __len__ = __bool__ = sprung  # type: ignore[assignment]
    __module__ = property(sprung)  # type: ignore[assignment]
    __name__ = property(sprung)  # type: ignore[assignment]
    __mro__ = property(sprung)  # type: ignore[assignment]
    __dict__ = property(sprung)  # type: ignore[assignment]


class OfTrapMeta(metaclass=TrapMeta):
    pass


OF_TRAP_META_NAME = f"<{__name__}.OfTrapMeta>"


@dataclass
class PointDataclass:
    x: int
    y: int


@attrs.define
class PointAttrs:
    x: int
    y: int


class PointModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int
    y: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return sprung()  # type: ignore[no-any-return]


class OldModel(pydantic.v1.BaseModel):
    x: int


class PointTuple(NamedTuple):
    x: int
    y: int


class PointDict(TypedDict):
    x: int
    y: int


class Color(enum.Enum):
    RED = "red"


class SomeClass:
    pass


class SomeZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return sprung()  # type: ignore[no-any-return]


for example in (SomeClass, SomeZone):
    example.__module__ = "example"


def nested(levels: int, inside: object = 1) -> Any:
    value: Any = inside
    for _ in range(levels):
        value = [value]
    return value


def a_cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


class SomeMapping(Mapping):  # type: ignore[type-arg]
    __module__ = "example"

    def __init__(self, *stored: Any) -> None:
        for place, each in enumerate(stored):
            setattr(self, f"_stored_{place}", each)

    __getitem__ = __iter__ = __len__ = keys = items = values = sprung  # type: ignore[assignment]


class SlotsHit:
    __slots__ = ("_secret", "id", "unset")

    def __init__(self, id: Any, secret: Any = None) -> None:
        self.id = id
        self._secret = secret

    __repr__ = sprung


def sqlite_row() -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    found: sqlite3.Row = connection.execute("SELECT 17 AS id, 'Unlock' AS title").fetchone()
    connection.close()
    return found
