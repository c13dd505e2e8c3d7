"""Mappings and records that are no dict are recorded with what they hold; nothing of them runs."""

from __future__ import annotations

import collections
import ipaddress
import json
import os
import re
import sqlite3
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydantic
import pytest

from sessionbat._encoding import encode_value
from sessionbat._scope import Scope
from sessionbat.testing import Recording


def written(value: object) -> Any:
    return json.loads(encode_value(value))


def refuse(*args: object) -> Any:
    raise AssertionError("code of the host ran")


class Hit(collections.UserDict):  # type: ignore[type-arg]
    """A search hit as Milvus returns it, whose methods must not be asked."""

    __repr__ = __str__ = refuse

    @property
    def score(self) -> float:
        return float(refuse())


class AskedHit(Hit):
    keys = items = values = __len__ = refuse  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Any]:
        return iter(refuse())


class Chain(collections.ChainMap):  # type: ignore[type-arg]
    __iter__ = __getitem__ = __len__ = items = refuse  # type: ignore[assignment]


class Text(collections.UserString):
    __str__ = __repr__ = refuse


class Registered:
    """Neither inherits nor is asked; ``Mapping.register`` says what it is."""

    def __init__(self, **stored: Any) -> None:
        self.store = stored
        self.hits = 0

    __getitem__ = __iter__ = __len__ = keys = refuse


Mapping.register(Registered)


class SlotMapping(Mapping):  # type: ignore[type-arg]
    __slots__ = ("_stored",)

    def __init__(self, **stored: Any) -> None:
        self._stored = stored

    __getitem__ = __iter__ = __len__ = keys = refuse  # type: ignore[assignment]


class Base:
    __slots__ = ("id",)


class Child(Base):
    __slots__ = {"_hidden": "", "title": "a dict documents them"}

    def __getattribute__(self, name: str) -> Any:
        return refuse()


class WithDict(Base):
    """Has a ``__dict__`` as well: an object like any other."""


class OnlyHidden:
    __slots__ = ("__mangled", "_value")


def child() -> Child:
    made = Child()
    for name, value in (("id", 1), ("title", "t"), ("_hidden", "secret")):
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Hit(id="kb-17", score=0.9), {"id": "kb-17", "score": 0.9}),
        (AskedHit({"id": "kb-17", 1: b"ab"}), None),
        (Chain({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
        (Chain(Hit(a=1), types.MappingProxyType({"b": 2})), {"a": 1, "b": 2}),
        (Chain(Chain({"a": 1}), collections.OrderedDict(a=2, c=3)), {"a": 1, "c": 3}),
        (Text("text"), "text"),
        ({Text("key"): 1}, {"key": 1}),
        (Registered(a=1), {"a": 1}),
        (SlotMapping(a=1), {"a": 1}),
        (types.MappingProxyType(Hit(a=1)), {"a": 1}),
        (types.MappingProxyType(Chain({"a": 1})), {"a": 1}),
        (types.SimpleNamespace(a=1, _b=2), {"a": 1, "_b": 2}),
        (type("Own", (types.SimpleNamespace,), {"__repr__": refuse})(a=1), {"a": 1}),
        (child(), {"id": 1, "title": "t"}),
        (Base(), {}),
        (collections.defaultdict(refuse, a=1), {"a": 1}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.UserList([Hit(a=1), (2,)]), [{"a": 1}, [2]]),
        (re.compile(b"a+"), {"type": "bytes", "size": 2, "base64": "YSs="}),
        (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
        ({ipaddress.ip_address("::1"): 1}, {"::1": 1}),
        (pydantic.HttpUrl("https://example.com/a?b=1"), "https://example.com/a?b=1"),
        (pydantic.AnyUrl("https://a:80/b@c"), "https://a:80/b@c"),
        (
            pydantic.PostgresDsn("postgresql://u:p1@h1:1,v:p2@h2/db"),
            "postgresql://u:**********@h1:1,v:**********@h2/db",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_record_is_what_it_holds(value: object, expected: object) -> None:
    if expected is None:
        expected = {"id": "kb-17", "1": {"type": "bytes", "size": 2, "base64": "YWI="}}
    assert written([value]) == [expected]


class Address(ipaddress.IPv4Address):
    __str__ = __repr__ = refuse  # type: ignore[assignment]


class Url(pydantic.AnyUrl):
    __str__ = __repr__ = refuse  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [OnlyHidden(), WithDict(), os.environ, Address("10.0.0.1"), Registered.__new__(Registered)],
    ids=lambda value: type(value).__name__,
)
def test_an_object_that_shows_nothing_is_named(value: object) -> None:
    kind = type(value)
    assert written(value) == f"<{kind.__module__}.{kind.__qualname__}>"


def test_a_url_of_the_hosts_class_is_its_text() -> None:
    assert written(Url("https://a.example/")) == "https://a.example/"


def test_a_record_in_itself_is_a_cycle() -> None:
    hit, space, record, chain = Hit(), types.SimpleNamespace(), Base(), Chain({})
    hit["in"] = hit
    space.inside = [space]
    record.id = {"record": record}  # type: ignore[attr-defined]
    chain.maps[0]["in"] = chain
    own = Hit()
    own.data = own  # type: ignore[assignment]
    chain_of_itself = Chain()
    chain_of_itself.maps = [chain_of_itself, {"a": 1}]

    assert written(hit) == {"in": {"in": "<cycle>"}} or written(hit) == {"in": "<cycle>"}
    assert written(space) == {"inside": ["<cycle>"]}
    assert written(record) == {"id": {"record": "<cycle>"}}
    assert written(chain) == {"in": "<cycle>"}
    assert written(own) == "<cycle>"
    assert written(chain_of_itself) == {"a": 1}


def test_a_chain_that_shares_its_parts_does_not_explode() -> None:
    chain: Any = {"a": 1}
    for _ in range(60):
        chain = Chain(chain, chain)

    assert written(chain) == {"a": 1}


def test_a_long_chain_is_cut_like_a_dict() -> None:
    found = written(Chain({n: n for n in range(60_000)}))

    assert len(found) == 50_001
    assert list(found)[-1] == "<10000 more>"


def test_keys_of_the_hosts_are_not_compared() -> None:
    class Key:
        def __eq__(self, other: object) -> bool:
            return bool(refuse())

        def __hash__(self) -> int:
            return 1

    chain = Chain({Key(): 1})
    chain.maps.append({Key(): 2})

    assert sorted(written(chain).values()) == [1, 2]


def test_deeply_nested_records_end_where_dicts_do() -> None:
    value: Any = 1
    for _ in range(3000):
        value = Hit(a=types.SimpleNamespace(b=value))

    text = json.dumps(written(value))

    assert "<depth>" in text
    assert text.count("{") == 64


def test_columns_of_one_name_are_all_there() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT 1 AS a, 2 AS a").fetchone()
    connection.close()

    assert written(row) == {"a": 1, "a#2": 2}


@pytest.mark.parametrize("wrap", [Hit, lambda d: types.SimpleNamespace(**d), lambda d: Chain(d)])
def test_metadata_context_metrics_and_errors_may_be_records(wrap: Callable[..., Any]) -> None:
    recording = Recording(mask=["password"])
    recording.client.session(context=wrap({"user_id": "ada"})).interaction().llm(
        input=wrap({"password": "x"}),
        metadata=wrap({"a": 1}),
        metrics=wrap({"n": 1}),
        error=wrap({"type": "E", "message": "m"}),
    )

    event = recording.only()
    observation = event["observation"]
    assert event["context"] == {"user_id": "ada"}
    assert observation["input"] == {"password": "[masked]"}
    assert observation["metadata"] == {"a": 1}
    assert observation["metrics"] == {"n": 1}
    assert observation["error"] == {"type": "E", "message": "m"}


def test_tags_may_be_a_user_list() -> None:
    assert Scope("a").extended(collections.UserList(["x", "y"])).tags == ("x", "y")
