"""Values that break encoders, over the wire: rows 39 to 50. What each becomes: tests/encoding."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.testing import Endpoint


@dataclasses.dataclass
class Point:
    x: int
    y: Any


class Colour(enum.Enum):
    RED = "red"


class Raises:
    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def __repr__(self) -> str:
        raise ZeroDivisionError


class Blocks:
    def __repr__(self) -> str:
        time.sleep(60)  # what must not be run
        return "never"


def cycle() -> Any:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    return value


def shared() -> Any:
    value: list[Any] = ["leaf"]
    for _ in range(40):
        value = [value, value]
    return value


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = {"in": value}
    return value


def numpy_array() -> Any:
    return pytest.importorskip("numpy").zeros((1000, 10_000), dtype="float32")


def pydantic_secret() -> Any:
    return {"key": pytest.importorskip("pydantic").SecretStr("hidden-away")}


def is_truncated(event: dict[str, Any]) -> bool:
    return bool(event["observation"]["truncated"]["original_bytes"] > 1_000_000)


def output_is(expected: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda event: bool(event["observation"]["output"] == expected)


def text_holds(*parts: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: all(part in json.dumps(event["observation"]["output"]) for part in parts)


NOON = datetime.datetime(2026, 11, 22, 12, 0, 0, tzinfo=datetime.UTC)

ROWS: dict[str, tuple[Callable[[], Any], Callable[[dict[str, Any]], bool]]] = {
    "39-a-string-of-50-mb": (lambda: "x" * 50_000_000, is_truncated),
    "39-a-string-of-1-mb": (lambda: "x" * 1_100_000, is_truncated),
    "40-a-cycle": (cycle, text_holds("<cycle>")),
    "40-one-object-a-million-times": (shared, text_holds("leaf", "more>")),
    "41-numbers-that-json-has-not": (
        lambda: [float("nan"), float("inf"), 10**40, decimal.Decimal("1.10"), 1j],
        output_is([None, None, str(10**40), "1.10", "1j"]),
    ),
    "41-fractions": (lambda: [fractions.Fraction(1, 3), -0.0], output_is(["1/3", 0.0])),
    "42-text-that-is-no-unicode": (
        lambda: "a\ud800b\x00\u202e\U0001f987",
        output_is("a\ufffdb\x00\u202e\U0001f987"),
    ),
    "43-bytes": (lambda: bytearray(b"\xff\x00"), text_holds('"type": "bytes"', "/wA=")),
    "43-collections": (
        lambda: [{1}, frozenset({2}), deque([3]), range(2)],
        output_is([[1], [2], [3], [0, 1]]),
    ),
    "44-dataclass-enum-uuid-path-datetime": (
        lambda: [Point(1, Colour.RED), uuid.UUID(int=7), pathlib.PurePosixPath("/a"), NOON],
        lambda event: (
            event["observation"]["output"][:3]
            == [{"x": 1, "y": "red"}, str(uuid.UUID(int=7)), "/a"]
        ),
    ),
    "44-secret-of-pydantic": (pydantic_secret, output_is({"key": "**********"})),
    "45-an-array-of-ten-million": (numpy_array, text_holds("float32", "10000")),
    "46-an-object-that-raises": (lambda: [Raises()], text_holds("Raises")),
    "47-an-object-that-blocks": (lambda: [Blocks()], text_holds("Blocks>")),
    "49-nested-3000-deep": (lambda: nested(3000), text_holds("<depth>")),
    "49-a-million-wide": (lambda: list(range(1_000_000)), text_holds("more>")),
    "50-keys-that-are-no-text": (
        lambda: {1: "int", "1": "str", None: "none"},
        lambda event: sorted(event["observation"]["output"].values()) == ["int", "none", "str"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_value(endpoint: Endpoint, client: SessionBat, row: str) -> None:
    """Rows 39 to 47, and rows 49 to 50: arrives as valid JSON that says what there was."""
    make, is_right = ROWS[row]
    value = make()
    interaction = client.session().interaction()
    before = threading.active_count()
    event_id = interaction.llm(model="m", output=value)
    neighbour = interaction.llm(model="m", output="plain")
    assert client.flush(20)
    assert threading.active_count() <= before + 4
    events = {event["id"]: event for request in endpoint.requests for event in request.events}
    assert is_right(events[event_id]), json.dumps(events[event_id])[:500]
    assert events[neighbour]["observation"]["output"] == "plain"


def test_value_43_generator_is_not_consumed(endpoint: Endpoint, client: SessionBat) -> None:
    """Row 43."""
    generator = iter([1, 2, 3])
    client.session().interaction().llm(output={"stream": generator})
    assert client.flush()
    assert list(generator) == [1, 2, 3]


def test_value_48_changed_after_the_call(endpoint: Endpoint, client: SessionBat) -> None:
    """Row 48: sent as it was at the call."""
    value = {"messages": ["before"]}
    client.session().interaction().llm(input=value)
    value["messages"].append("after")
    assert client.flush()
    assert endpoint.requests[0].events[0]["observation"]["input"] == {"messages": ["before"]}


def test_value_48_changed_by_another_thread_during_the_call(
    endpoint: Endpoint, client: SessionBat
) -> None:
    """Row 48: no exception, and every event arrives."""
    value = {str(number): number for number in range(500)}
    stop = threading.Event()

    def change() -> None:
        number = 500
        while not stop.is_set():
            value[str(number)] = value.pop(str(number - 500), 0)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    interaction = client.session().interaction()
    for _ in range(200):
        interaction.llm(output=value)
    stop.set()
    thread.join()
    assert client.flush(20)
    stats = client.stats()
    assert (stats.delivered, stats.dropped) == (200, {})
