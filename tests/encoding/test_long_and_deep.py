"""Long texts, cycles and deep or wide values end visibly and cost no more than is kept."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pytest

from sessionbat._encoding import (
    encode_value,
)
from sessionbat._encoding.plain_values import MAX_DEPTH
from sessionbat.event import MAX_EVENT_BYTES
from tests.encoding.values import (
    SomeClass,
    cpu_ms,
    event_line,
    nested,
    observation_of,
    parsed,
    written,
)


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
