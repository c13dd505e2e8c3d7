"""What becomes of any Python value: every fault of recording bad values, and the sizes."""

from __future__ import annotations

import argparse
import ctypes
import enum
import io
import ipaddress
import json
import math
import random
import re
import sqlite3
import sys
import threading
import time
from array import array
from collections import ChainMap, OrderedDict, UserDict, UserList, UserString, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, TypedDict
from unittest.mock import MagicMock, Mock
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import httpx
import numpy
import orjson
import pydantic
import pydantic.v1
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionbat._encoding import (
    Snapshot,
    encode_event,
    encode_value,
    is_plain,
)
from sessionbat._encoding.plain_values import MAX_DEPTH, MAX_NODES, _first_of
from sessionbat.event import MAX_EVENT_BYTES, MIN_EVENT_BYTES

EVENT_FORMAT = Path(__file__).parent.parent / "docs" / "event-format.md"
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


@pytest.fixture(autouse=True)
def _no_trap_is_sprung() -> Iterator[None]:
    SPRUNG.clear()
    yield
    assert SPRUNG == []


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


# --- the examples of the documentation ------------------------------------------------------------


def documented() -> list[tuple[str, str, str]]:
    section = EVENT_FORMAT.read_text().split("## How values are written")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in row) for row in rows if row[0] != "value"]  # type: ignore[misc]


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


EXAMPLE_NAMES: dict[str, Any] = {
    "UserDict": UserDict,
    "UserList": UserList,
    "UserString": UserString,
    "ChainMap": ChainMap,
    "SomeMapping": SomeMapping,
    "SimpleNamespace": SimpleNamespace,
    "Namespace": argparse.Namespace,
    "SlotsHit": SlotsHit,
    "sqlite_row": sqlite_row,
    "AnyUrl": pydantic.AnyUrl,
    "IPv4Address": ipaddress.IPv4Address,
    "IPv6Network": ipaddress.IPv6Network,
    "Headers": httpx.Headers,
    "re": re,
    "ZoneInfo": ZoneInfo,
    "array": array,
    "math": math,
    "Decimal": Decimal,
    "Fraction": Fraction,
    "UUID": UUID,
    "numpy": numpy,
    "PurePosixPath": PurePosixPath,
    "deque": deque,
    "MappingProxyType": MappingProxyType,
    "datetime": datetime,
    "date": date,
    "timedelta": timedelta,
    "UTC": UTC,
    "time": __import__("datetime").time,
    "SecretStr": pydantic.SecretStr,
    "nested": nested,
    "PointDataclass": PointDataclass,
    "PointAttrs": PointAttrs,
    "PointModel": PointModel,
    "PointTuple": PointTuple,
    "PointDict": PointDict,
    "Color": Color,
    "SomeClass": SomeClass,
    "SomeZone": SomeZone,
    "cycle": a_cycle(),
    "true": True,
    "false": False,
    "null": None,
}


@pytest.mark.parametrize("row", documented(), ids=lambda row: row[0])
def test_each_row_of_the_documented_table_is_true(row: tuple[str, str, str]) -> None:
    _, example, expected = row

    found = written(eval(example.strip("`"), EXAMPLE_NAMES))

    assert found == eval(expected.strip("`"), EXAMPLE_NAMES)


def test_the_documented_table_is_read_whole() -> None:
    assert len(documented()) >= 38


# --- faults 39 to 50 ------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_fault_39_a_string_of_1_mb_is_cut_to_fit_visibly(character: str) -> None:
    text = character * (MAX_EVENT_BYTES + 1)

    found = observation_of(input={"text": text, "short": "kept"})

    head, _, mark = found["input"]["text"].rpartition("…[+")
    assert set(head) == {character}
    assert mark == f"{len(text) - len(head)} characters]"
    assert found["input"]["short"] == "kept"
    estimate = found["truncated"]["original_bytes"]
    assert estimate == pytest.approx(len(text.encode()), rel=0.01)


@pytest.mark.parametrize("character", ["x", "é", "\0"])
def test_fault_39_a_string_of_50_mb_costs_no_more_than_what_is_kept(character: str) -> None:
    text = character * 50_000_000

    took = cpu_ms(lambda: event_line(input=text))

    # Quiet: 1.2 ms for plain text, 6 ms where each character takes six bytes as JSON.
    assert took < 60
    assert len(event_line(input=text)) > MAX_EVENT_BYTES * 0.9


@pytest.mark.slow
def test_fault_39_a_string_of_1_gb_takes_milliseconds_and_no_memory() -> None:
    import resource

    text = "x" * 1_000_000_000
    event_line(input="x" * 2_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    took = cpu_ms(lambda: event_line(input=text))

    assert took < 50  # expected: under 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_fault_39_many_long_strings_share_the_room() -> None:
    found = observation_of(input=["a" * 10, "b" * 900_000, "c" * 900_000])

    ten, b, c = found["input"]
    assert ten == "a" * 10
    assert len(b) == len(c) > 400_000


def test_fault_39_a_long_string_shared_many_times_is_not_worked_on_many_times() -> None:
    shared = "é" * 1_000_000

    took = cpu_ms(lambda: event_line(input=[shared] * 5_000))

    assert took < 1000  # 5,000 times one megabyte takes five seconds to encode
    assert len(set(observation_of(input=[shared] * 5_000)["input"])) <= 2


def test_fault_40_a_cycle_is_named_and_what_is_beside_it_is_kept() -> None:
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = cycle
    cycle["inner"] = [cycle, {"b": 2}]

    assert written(cycle) == {"a": 1, "self": "<cycle>", "inner": ["<cycle>", {"b": 2}]}


def test_fault_40_a_value_met_twice_is_no_cycle() -> None:
    shared = {"a": [Decimal(1)]}

    assert written([shared, shared]) == [{"a": ["1"]}, {"a": ["1"]}]


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 1000])
def test_fault_40_a_structure_that_shares_its_parts_does_not_explode(width: int) -> None:
    exploding: Any = ["leaf"]
    for _ in range(40):
        exploding = [exploding] * width

    took = cpu_ms(lambda: event_line(input=exploding))

    assert took < 3000  # quiet: 0.1 s for its 50,000 nodes
    assert " more>" in event_line(input=exploding).decode()


def test_fault_41_numbers_that_json_does_not_know() -> None:
    numbers = [math.nan, math.inf, -math.inf, -0.0, 10**40, Decimal("NaN"), Fraction(4, 2), 1j]

    found = written(numbers)

    assert found == [None, None, None, -0.0, "1" + "0" * 40, "NaN", "2", "1j"]
    assert math.copysign(1, found[3]) == -1


@pytest.mark.parametrize("value", [2**63, -(2**63), 2**64 - 1])
def test_fault_41_integers_of_64_bits_stay_numbers(value: int) -> None:
    assert written(value) == value


def test_fault_41_an_endless_integer_is_not_printed_in_decimal() -> None:
    endless = 10**1_000_000
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        took = cpu_ms(lambda: encode_value({endless: endless}))
    finally:
        sys.set_int_max_str_digits(limit)

    assert took < 100


def test_fault_42_text_becomes_valid_utf_8() -> None:
    text = ["a\ud800b", "\udc00", "\ud83d\ude00", "\0", "שלום", "😀", "\ufeffx", "é"]

    assert written(text) == ["a�b", "�", "😀", "\0", "שלום", "😀", "\ufeffx", "é"]


def test_fault_42_keys_names_and_ids_become_valid_utf_8() -> None:
    envelope = {"type": "llm", "session_id": "\ud800", "app": "\udfff"}
    fields = dict.fromkeys(OBSERVATION_KEYS) | {"name": "n\ud800", "metadata": {}}
    fields |= {"metrics": {}, "input": {"\ud800": "\ud800"}}

    event = parsed(encode_event(envelope, fields))

    assert (event["session_id"], event["app"]) == ("�", "�")
    assert (event["observation"]["name"], event["observation"]["input"]) == ("n�", {"�": "�"})


def test_fault_43_bytes_in_every_form() -> None:
    class Sub(bytes):
        __getitem__ = __len__ = __bytes__ = __buffer__ = sprung

    short = {"type": "bytes", "size": 3, "base64": "YWJj"}

    values = [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        Sub(b"abc"),
        memoryview(b"a-b-c-")[::2],
    ]

    assert written(values) == [short] * 5


def test_fault_43_a_released_memoryview_is_named() -> None:
    view = memoryview(b"abc")
    view.release()

    assert written([view, 1]) == ["<builtins.memoryview>", 1]


def test_fault_43_ten_megabytes_are_not_hashed_whole() -> None:
    took = cpu_ms(lambda: event_line(input=bytes(10_000_000)))

    assert took < 30  # quiet: 0.8 ms
    assert written(bytearray(10_000_000))["size"] == 10_000_000


def test_fault_43_a_bytearray_can_be_resized_while_it_is_recorded() -> None:
    data = bytearray(5_000_000)
    errors: list[BaseException] = []
    stop = threading.Event()

    def resize() -> None:
        try:
            while not stop.is_set():
                data.append(0)
        except BufferError as error:
            errors.append(error)

    thread = threading.Thread(target=resize)
    thread.start()
    for _ in range(200):
        assert written(data)["type"] == "bytes"
    stop.set()
    thread.join()

    assert errors == []


def test_fault_43_a_generator_is_not_consumed() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> Any:
        yield 1

    stream = io.StringIO("line\n")
    counted, mapped = generator(), map(str, [1, 2])

    assert written([counted, mapped, asynchronous(), stream, iter([1])]) == ["<generator>"] * 5
    assert (list(counted), list(mapped), stream.read()) == ([1], ["1", "2"], "line\n")


def test_fault_43_an_endless_range_is_counted_and_not_walked() -> None:
    found = written(range(10**30))

    assert found[:2] == [0, 1]
    assert found[-1] == f"<{10**30 - MAX_NODES} more>"


def test_fault_44_fields_are_read_where_they_are_stored() -> None:
    @dataclass(slots=True)
    class Slotted:
        x: int
        unset: int = field(init=False)

        @property
        def y(self) -> int:
            return sprung()

    @attrs.define(slots=False)
    class Attributes:
        x: int
        _private: int = 2

    assert written([Slotted(1), Attributes(1), OldModel(x=3)]) == [
        {"x": 1},
        {"x": 1, "_private": 2},
        {"x": 3},
    ]


def test_fault_44_a_namedtuple_that_lies_about_its_fields_loses_nothing() -> None:
    class Liar(namedtuple("Liar", "a b")):
        _fields = ("a",)

    assert written(Liar(1, 2)) == {"a": 1, "1": 2}


def test_fault_44_secrets_are_masked_also_inside_and_in_subclasses() -> None:
    class Key(pydantic.SecretStr):
        pass

    class Settings(pydantic.BaseModel):
        key: pydantic.SecretStr
        raw: pydantic.SecretBytes

    settings = Settings(key="hunter2", raw=b"hunter2")
    line = encode_value([Key("hunter2"), settings, {Key("hunter2"): 1}, ValueError(Key("hunter2"))])

    assert b"hunter2" not in line
    assert parsed(line)[:2] == ["*" * 10, {"key": "*" * 10, "raw": "*" * 10}]


def test_fault_44_subclasses_of_plain_types_are_their_values() -> None:
    class Text(str):
        __str__ = __repr__ = __len__ = __iter__ = sprung

    class Number(int):
        __int__ = __str__ = __repr__ = __index__ = sprung

    class Real(float):
        __float__ = __str__ = __repr__ = sprung

    class Listed(list):
        __iter__ = __len__ = __getitem__ = sprung

    class Dictionary(dict):
        __iter__ = __len__ = items = keys = values = copy = __getitem__ = sprung

    values = [Text("t"), Number(1), Real(0.5), Listed([1]), Dictionary(a=1), OrderedDict(b=2)]

    assert written(values) == ["t", 1, 0.5, [1], {"a": 1}, {"b": 2}]
    assert written({Text("k"): 1, Number(2): 2}) == {"k": 1, "2": 2}


def test_fault_44_enums_with_odd_values() -> None:
    class Odd(enum.Enum):
        LIST = [1, Decimal(2)]  # noqa: RUF012
        OBJECT = SomeClass()

        @property
        def value(self) -> Any:  # type: ignore[override]
            return sprung()

    class Word(str, enum.Enum):  # noqa: UP042
        HELLO = "hello"

    Odd.LIST._value_.append(Odd.LIST)

    assert written([Odd.LIST, Odd.OBJECT, Word.HELLO, enum.IntEnum("I", "A").A]) == [
        [1, "2", "<cycle>"],
        "<example.SomeClass>",
        "hello",
        1,
    ]


def test_fault_44_datetimes_naive_and_aware_and_of_subclasses() -> None:
    class Moment(datetime):
        isoformat = __str__ = sprung

    zone = pytest.importorskip("zoneinfo").ZoneInfo("UTC")

    assert written(
        [datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=zone), Moment(2026, 1, 2)]
    ) == [
        "2026-01-02T00:00:00",
        "2026-01-02T00:00:00+00:00",
        "2026-01-02T00:00:00",
    ]


def test_fault_45_an_array_of_ten_million_is_described_without_a_copy() -> None:
    array = numpy.zeros(10_000_000)

    took = cpu_ms(lambda: event_line(input=array))

    assert took < 20  # quiet: 0.05 ms
    assert written(array) == {"type": "numpy.ndarray", "shape": [10_000_000], "dtype": "float64"}


def test_fault_45_numpy_scalars_of_every_kind() -> None:
    scalars = [
        numpy.float64(1.5),
        numpy.float16(0.5),
        numpy.longdouble(0.25),
        numpy.uint64(2**64 - 1),
    ]
    others = [numpy.datetime64("NaT"), numpy.str_("s"), numpy.complex64(1j), numpy.float32("nan")]

    assert written(scalars) == [1.5, 0.5, 0.25, 2**64 - 1]
    assert written(others) == [None, "s", "1j", None]
    assert written(numpy.datetime64(1, "ns")).startswith("1970-01-01T00:00:00")


def test_fault_45_frames_tensors_and_images_by_their_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tensor:
        shape = property(lambda self: (2, 3))
        dtype = property(lambda self: "torch.float32")

    class Image:
        size = property(lambda self: (640, 480))
        mode = property(lambda self: "RGB")

    Tensor.__module__, Image.__module__ = "torch", "PIL.Image"
    Tensor.__qualname__, Image.__qualname__ = "Tensor", "Image"

    class Parameter(Tensor):
        shape = property(sprung)  # type: ignore[assignment]

    described = {"type": "torch.Tensor", "shape": [2, 3], "dtype": "torch.float32"}
    assert written(Tensor()) == described
    assert written(Parameter())["shape"] == [2, 3]
    assert written(Image()) == {"type": "PIL.Image.Image", "shape": [640, 480], "dtype": "RGB"}


def test_fault_45_pandas_frames_and_missing_times() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})

    assert written(frame)["shape"] == [2, 2]
    assert written(frame)["dtype"] == ["int64", "float64"]
    assert written([pandas.NaT, pandas.Timestamp("2026-11-22")]) == [None, "2026-11-22T00:00:00"]


def test_fault_46_an_object_that_raises_when_asked_anything_is_named() -> None:
    assert written({"a": Trap(), "b": [Trap()]}) == {"a": TRAP_NAME, "b": [TRAP_NAME]}


def test_fault_46_an_object_that_raises_is_a_key() -> None:
    class Key:
        __str__ = __repr__ = sprung

    assert list(written({Key(): 1, Key(): 2})) == [
        f"<{__name__}.{Key.__qualname__}>",
        f"<{__name__}.{Key.__qualname__}>#2",
    ]


def test_fault_46_a_class_that_raises_when_asked_anything_is_named() -> None:
    assert written([OfTrapMeta(), OfTrapMeta]) == [f"<{__name__}.OfTrapMeta>"] * 2


def test_fault_46_a_dataclass_that_hides_its_dict_is_not_asked_for_it() -> None:
    @dataclass
    class Hidden:
        x: int = 1
        __dict__ = property(sprung)  # type: ignore[assignment]

    assert written([Hidden()]) == [{}]


def test_fault_46_traps_everywhere_in_an_event() -> None:
    found = observation_of(
        name=Trap(), input=Trap(), output=[OfTrapMeta()], error=Trap(), metadata={"a": Trap()},
        metrics={"b": Trap()},
    )  # fmt: skip

    assert found["input"] == found["error"] == TRAP_NAME
    assert found["metadata"] == {"a": TRAP_NAME, "b": TRAP_NAME}


def test_fault_46_mocks_and_lazy_objects_are_named_and_untouched() -> None:
    class Lazy:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            return sprung()  # type: ignore[no-any-return]

    mock = Mock()

    assert written([mock, Lazy()]) == ["<unittest.mock.Mock>", f"<{__name__}.{Lazy.__qualname__}>"]
    assert isinstance(written(MagicMock()), str)
    assert mock.mock_calls == []


def test_fault_46_an_exception_is_described_without_its_own_str() -> None:
    class Custom(Exception):
        __str__ = __repr__ = sprung
        args = property(sprung)

    looping = ValueError()
    looping.args = (looping, {"inner": looping})

    assert written(Custom("why", 3)) == {"type": "Custom", "message": "why, 3"}
    assert written(KeyError("k")) == {"type": "KeyError", "message": "'k'"}
    assert written(FileNotFoundError(2, "gone", "f"))["message"] == "[Errno 2] gone: 'f'"
    assert written(ValueError(Trap()))["message"] == TRAP_NAME
    assert "<builtins.ValueError>" in written(looping)["message"]


def test_fault_46_a_validation_error_does_not_print_what_it_refused() -> None:
    class Model(pydantic.BaseModel):
        x: int

    with pytest.raises(pydantic.ValidationError) as refused:
        Model(x=Trap())
    SPRUNG.clear()  # pydantic asked it

    assert written(refused.value) == {
        "type": "ValidationError",
        "message": "1 validation error(s) for Model",
    }


def test_fault_46_a_mapping_behind_a_proxy_is_not_asked() -> None:
    class Asked(Mapping):  # type: ignore[type-arg]
        __getitem__ = __iter__ = __len__ = keys = sprung  # type: ignore[assignment]

    assert written(MappingProxyType(Asked())) == "<builtins.mappingproxy>"


def test_fault_47_code_that_would_block_or_record_itself_is_not_run() -> None:
    class Blocking:
        def __repr__(self) -> str:
            time.sleep(3600)
            return ""

        __str__ = __len__ = __iter__ = __getattr__ = __repr__  # type: ignore[assignment]

    begun = time.monotonic()

    assert written([Blocking(), UserString("x")])[0].endswith("Blocking>")
    assert time.monotonic() - begun < 60


def test_fault_47_a_fragment_of_json_given_by_the_host_is_not_trusted() -> None:
    assert written({"a": orjson.Fragment(b"{broken")}) == {"a": "<orjson.Fragment>"}


def test_fault_48_what_is_changed_after_the_call_is_as_it_was() -> None:
    value = {"list": [1], "decimal": Decimal(1)}
    snapshot = Snapshot(value)
    line = encode_value(value)
    value["list"].append(2)  # type: ignore[attr-defined]

    assert parsed(line)["list"] == snapshot.value()["list"] == [1]


@pytest.mark.parametrize(
    ("shared", "change"),
    [
        (
            {},
            lambda shared, n: shared.update({str(n % 97): n}) or shared.pop(str((n + 50) % 97), 0),
        ),
        ([], lambda shared, n: shared.append(n) if n % 97 else shared.clear()),
        (deque(), lambda shared, n: shared.append(n) if n % 97 else shared.clear()),
        (set(), lambda shared, n: shared.add(n % 97) or shared.discard((n + 50) % 97)),
    ],
    ids=["dict", "list", "deque", "set"],
)
@pytest.mark.parametrize("beside", [1, SomeClass()], ids=["plain", "converted"])
def test_fault_48_another_thread_changes_a_container_meanwhile(
    shared: Any, change: Callable[[Any, int], object], beside: object
) -> None:
    stop = threading.Event()

    def keep_changing() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            change(shared, n)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        for _ in range(100):
            found = observation_of(input={"shared": shared, "beside": beside})["input"]
            assert isinstance(found["shared"], dict | list)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_fault_48_a_container_that_changed_between_two_steps_is_read_again() -> None:
    shared = {1, 2}

    def iterate(value: set[int]) -> Iterator[int]:
        iterator = iter(value)
        if len(value) < 5:
            value.add(len(value) + 10)  # another thread, at the worst moment
        return iterator

    assert len(_first_of(iterate, shared, 100)) == 5


def test_fault_49_3000_levels_end_at_64() -> None:
    found: Any = written(nested(3000))
    levels = 0
    while isinstance(found, list):
        levels += 1
        found = found[0]

    assert (levels, found) == (MAX_DEPTH, "<depth>")


@pytest.mark.parametrize("inside", [[], {}, (), 1])
def test_fault_49_64_levels_are_kept_whole(inside: object) -> None:
    levels = MAX_DEPTH - (type(inside) is not int)

    assert b"<depth>" not in encode_value(nested(levels, inside))
    assert b"<depth>" in encode_value(nested(levels + 1, inside))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wide", [list(range(10**6)), dict.fromkeys(range(10**6)), tuple(range(10**6)), [[]] * 10**6]
)
def test_fault_49_a_million_items_are_counted(wide: Any) -> None:
    found = observation_of(input=wide, output={"kept": 1}, metadata={"kept": 2}, metrics={"m": 3})

    last = list(found["input"])[-1]
    assert last == f"<{10**6 - len(found['input']) + 1} more>"
    assert len(found["input"]) > 40_000
    assert (found["output"], found["metadata"], found["metrics"]) == (
        {"kept": 1},
        {"kept": 2},
        {"m": 3},
    )


def test_fault_49_nothing_fails_near_the_recursion_limit() -> None:
    def at_depth(frames: int) -> Any:
        return at_depth(frames - 1) if frames else encode_value({"a": nested(60, SomeClass())})

    frame, here = sys._getframe(), 0
    while frame is not None:
        here, frame = here + 1, frame.f_back  # type: ignore[assignment]

    found = at_depth(sys.getrecursionlimit() - here - 60)

    assert parsed(found) == {"a": nested(60, "<example.SomeClass>")}


def test_fault_50_keys_that_are_no_strings_stay_distinct() -> None:
    keys = {1: "int", "1": "str", 1.5: "float", "1.5": "s", None: "none", "None": "s", "True": "s"}

    assert written(keys) == {
        "1": "int",
        "1#2": "str",
        "1.5": "float",
        "1.5#2": "s",
        "None": "none",
        "None#2": "s",
        "True": "s",
    }


def test_fault_50_keys_of_every_kind_get_a_text() -> None:
    keys = [b"b", (1, "a"), (), Color.RED, date(2026, 1, 2), UUID(int=0), Decimal(1), 10**5000]

    found = list(written(dict.fromkeys(keys)))

    assert found[:5] == ["b'b'", "(1, 'a')", "()", "red", "2026-01-02"]
    assert found[6] == "1"
    assert found[7].startswith("0x")


def test_fault_50_thousands_of_equal_keys_take_no_more_than_their_number() -> None:
    few = {SomeClass(): n for n in range(1_000)}
    many = {SomeClass(): n for n in range(10_000)}

    ratio = cpu_ms(lambda: encode_value(many)) / cpu_ms(lambda: encode_value(few))

    assert ratio < 50  # ten times as many; one by one it would be a hundred times as much
    assert len(written(many)) == 10_000


# --- the eleven values that others lose, each through an event -----------------------------------

ELEVEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "cycle": (a_cycle, ["<cycle>"]),
    "NaN and inf": (lambda: [math.nan, math.inf], [None, None]),
    "lone surrogate": (lambda: "\ud800", "�"),
    "bytes": (lambda: b"abc", {"type": "bytes", "size": 3, "base64": "YWJj"}),
    "set": (lambda: {1}, [1]),
    "repr raises": (Trap, TRAP_NAME),
    "3,000 deep": (
        lambda: nested(3000),
        nested(MAX_DEPTH, "<depth>"),
    ),
    "10**40": (lambda: 10**40, "1" + "0" * 40),
    "tuple key": (lambda: {(1, 2): 3}, {"(1, 2)": 3}),
    "NUL": (lambda: "a\0b", "a\0b"),
    "generator": (lambda: (n for n in [1]), "<generator>"),
}


@pytest.mark.parametrize("name", ELEVEN)
@pytest.mark.parametrize("place", ["input", "output", "metadata", "error"])
def test_each_of_the_eleven_bad_values_arrives(name: str, place: str) -> None:
    make, expected = ELEVEN[name]

    found = observation_of(**{place: {"value": make()}}) if name != "3,000 deep" else None

    if found is None:
        assert observation_of(**{place: make()} if place != "metadata" else {"input": make()})
    else:
        assert found[place] == {"value": expected}


# --- an event as a whole --------------------------------------------------------------------------


def test_every_field_keeps_a_share_of_the_nodes() -> None:
    wide = [[n] for n in range(60_000)]

    found = observation_of(input=wide, output=wide, error=wide, metadata={"m": wide}, metrics={})

    assert min(len(found["error"]), len(found["output"]), len(found["input"])) >= 400
    assert len(found["metadata"]["m"]) >= 400


def test_many_small_items_lose_their_last_and_say_so() -> None:
    found = observation_of(64 * 1024, input=[1 / 3 + n for n in range(40_000)], output="kept")

    assert found["input"][-1] == f"<{40_000 - len(found['input']) + 1} more>"
    assert len(found["input"]) > 500
    assert found["output"] == "kept"
    assert found["truncated"]["original_bytes"] > 64 * 1024


def test_of_many_documents_the_first_are_kept_whole() -> None:
    documents = [{"id": n, "score": n / 3, "source": ["a", "b"]} for n in range(20_000)]

    wide = observation_of(input=documents)["input"]
    cut = observation_of(64 * 1024, input=documents[:5000])["input"]

    for found, number in ((wide, 20_000), (cut, 5000)):
        whole = sum(one == other for one, other in zip(found, documents, strict=False))
        assert whole > 50
        assert found[:whole] == documents[:whole]
        assert len(found) <= whole + 2
        assert found[-1] == f"<{number - len(found) + 1} more>"


def test_many_long_keys_are_left_out_visibly() -> None:
    found = observation_of(input={"k" * 1000 + str(n): n for n in range(20_000)})

    assert list(found["input"])[-1].endswith(" more>")
    assert found["truncated"]["original_bytes"] > MAX_EVENT_BYTES


def test_a_long_key_in_many_objects_is_not_written_many_times() -> None:
    key = "k" * 1_000_000

    took = cpu_ms(lambda: event_line(input=[{key: n} for n in range(3_000)]))

    assert took < 2000  # written each time it would be 5 GB
    found = observation_of(input=[{key: n} for n in range(3_000)])["input"]
    assert found[0] == {"k" * 1000 + "…[+999000 characters]": 0}


def test_a_text_of_many_short_strings_is_not_cut_to_marks_only() -> None:
    found = observation_of(256 * 1024, input=["word " * 4 for _ in range(40_000)])

    assert found["input"][0] == "word " * 4
    assert found["input"][-1].endswith(" more>")


def test_an_event_of_the_limit_exactly_is_not_cut() -> None:
    empty = len(event_line(input=""))

    line = event_line(input="x" * (MAX_EVENT_BYTES - empty))

    assert len(line) == MAX_EVENT_BYTES
    assert "truncated" not in parsed(line)["observation"]


def test_a_number_that_is_none_moves_from_metrics_to_metadata() -> None:
    found = observation_of(metrics={"a": 10**40, "b": 1}, metadata={"a": SomeClass()})

    assert found["metrics"] == {"b": 1}
    assert found["metadata"] == {"a": "<example.SomeClass>", "metrics.a": "1" + "0" * 40}


def test_metadata_that_is_no_object_becomes_one() -> None:
    assert observation_of(metadata=[Decimal(1)])["metadata"] == {"metadata": ["1"]}


def test_a_snapshot_is_written_as_the_value_it_was_taken_of() -> None:
    value = {"a": [1, "é"], "b": None}

    assert event_line(input=Snapshot(value))[-200:] == event_line(input=value)[-200:]


def test_a_snapshot_beside_a_value_to_convert_is_written_as_well() -> None:
    found = observation_of(input=Snapshot({"a": 1}), output=SomeClass())

    assert (found["input"], found["output"]) == ({"a": 1}, "<example.SomeClass>")


def test_a_snapshot_that_was_cut_says_so_in_the_event() -> None:
    found = observation_of(input=Snapshot("x" * 5_000_000))

    assert found["truncated"]["original_bytes"] >= 5_000_000
    assert found["input"].endswith(" characters]")


def test_an_event_whose_conversion_fails_arrives_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sessionbat._encoding.encoder.to_plain", fail)

    found = observation_of(input=SomeClass(), name="n")

    assert (found["input"], found["name"]) == ("<not encoded: MemoryError>", "n")


def test_a_huge_context_cannot_make_an_event_too_long() -> None:
    envelope = {"type": "llm", "id": "i", "context": orjson.Fragment(b'"' + b"x" * 99_999 + b'"')}
    fields = dict.fromkeys(OBSERVATION_KEYS) | {"kind": "llm"}

    line = encode_event(envelope, fields, MIN_EVENT_BYTES)

    assert len(line) <= MIN_EVENT_BYTES
    assert parsed(line)["observation"]["input"] == "<not shown: too long>"


# --- properties -----------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=20,
)


class Slots:
    __slots__ = ("x",)


ODD_LEAVES = st.one_of(
    st.none(),
    st.floats(),
    st.integers(),
    st.integers(10**30, 10**50),
    st.text(st.characters()),  # with surrogates
    st.text('\0\x1f"\\\ud800é', max_size=50),
    st.binary(max_size=3000),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.builds(Trap),
    st.builds(a_cycle),
    st.sampled_from([Slots(), Color.RED, Path("/x"), iter(()), range(3), MagicMock(), SomeClass]),
    st.sampled_from([ctypes.c_int(1), sys, print, ValueError("v"), numpy.zeros(2), NotImplemented]),
    st.text(max_size=3).map(lambda text: text * 5000),
)
ODD_KEYS = st.one_of(
    st.text(st.characters(), max_size=5),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(max_size=5),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.builds(Slots),
)
ODD = st.recursive(
    ODD_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(deque)
        | st.dictionaries(ODD_KEYS, inner, max_size=8)
        | inner.map(lambda item: [item] * 10)
        | inner.map(lambda item: PointDataclass(item, item))
        | inner.map(ValueError)
    ),
    max_leaves=15,
)
UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=30)


@given(PLAIN)
@UNHURRIED
def test_any_json_value_is_decoded_as_it_was(value: Any) -> None:
    assert observation_of(input=value)["input"] == value


@given(PLAIN)
@UNHURRIED
def test_a_converted_json_value_is_the_same_as_one_encoded_as_it_stands(value: Any) -> None:
    converted = observation_of(input=value, output=SomeClass())["input"]

    assert converted == value


@given(ODD, st.sampled_from([MIN_EVENT_BYTES, 100_000, MAX_EVENT_BYTES]))
@UNHURRIED
def test_any_value_becomes_valid_json_within_the_limit(value: Any, max_bytes: int) -> None:
    observation_of(
        max_bytes, input=value, output=[value], metadata={"m": value}, metrics={"n": value}
    )


@given(ODD)
@UNHURRIED
def test_a_snapshot_of_any_value_is_the_value_encoded(value: Any) -> None:
    assert Snapshot(value).data == encode_value(value)


@given(ODD, st.integers(200, 5000))
@UNHURRIED
def test_any_value_alone_fits_its_limit(value: Any, max_bytes: int) -> None:
    line = encode_value(value, max_bytes)

    parsed(line)
    assert len(line) <= max_bytes


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_wide_and_ragged_values_fit_every_limit(seed: int) -> None:
    rng = random.Random(seed)

    def ragged(depth: int) -> Any:
        roll = rng.random()
        if depth == 0 or roll < 0.3:
            return rng.choice(["\0", "é", "x", "😀", "\udc00"]) * rng.choice([0, 1, 50, 20_000])
        size = rng.choice([0, 1, 5, 30])
        if roll < 0.6:
            return [ragged(depth - 1) for _ in range(size)]
        keys = [rng.choice(["k", "\0\0", "é" * 400]) + str(n) for n in range(size)]
        return {key: ragged(depth - 1) for key in keys}

    observation_of(MIN_EVENT_BYTES, input=ragged(4), output=ragged(2))


def test_what_is_plain_is_said_to_be_plain() -> None:
    assert is_plain([{"a": [1, 2.5, None, True, "x", (1,)]}])
    assert not is_plain([{"a": SomeClass()}])
    assert not is_plain(["xx"], max_characters=1)


def test_no_module_of_arrays_or_numbers_is_loaded_for_encoding() -> None:
    import subprocess

    code = """if True:
        import sys
        import orjson
        before = set(sys.modules)
        import sessionbat._encoding, sessionbat._scope
        print(*(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert not loaded & {"decimal", "fractions", "pathlib", "base64", "numpy", "logging", "asyncio"}
