"""Values that are changed after the call, or by another thread during it."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from sessionbat._encoding import (
    Snapshot,
    encode_value,
)
from sessionbat._encoding.by_class import _first_of
from tests.encoding.values import SomeClass, observation_of, parsed


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
