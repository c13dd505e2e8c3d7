"""What is found once for all spans of one shape, and values that are not copied."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sessionbat._otel import attributes, values
from sessionbat._otel.attributes import Attributes, Names

NAMES = Names("first", "second")


def test_spans_of_one_shape_keep_their_own_values() -> None:
    one, other = Attributes({"second": "a", "x": 1}), Attributes({"second": "b", "x": 2})
    assert (one.name(NAMES), other.name(NAMES)) == ("a", "b")
    assert one.present(NAMES) == other.present(NAMES) == ("second",)


@pytest.mark.parametrize("raw", [{}, {"first": ""}, {"first": None, "second": []}, {"third": "c"}])
def test_nothing_is_found_where_nothing_is_said(raw: dict[str, Any]) -> None:
    assert Attributes(raw).first(NAMES) is None
    assert Attributes(raw).decoded(NAMES) is None


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_the_best_name_wins_whatever_the_order_of_the_attributes(order: tuple[str, str]) -> None:
    assert Attributes(dict.fromkeys(order, "x") | {"first": "best"}).first(NAMES) == "best"


def test_equal_tables_of_names_are_two() -> None:
    assert Names("a") != Names("a")
    assert len({Names("a"), Names("a")}) == 2


def test_names_that_a_function_chooses_are_looked_at_in_their_order() -> None:
    raw = {"b": 1, "skipped": 2, "a": 3}
    assert Attributes(raw).chosen(_is_short) == ("b", "a")
    assert Attributes(raw).chosen(_is_short) == ("b", "a")


def _is_short(name: str) -> bool:
    return len(name) == 1


def test_shapes_that_never_come_again_are_forgotten() -> None:
    for number in range(2 * attributes._MAX_SHAPES):
        Attributes({f"own.{number}": 1})
    assert len(attributes._shapes) <= attributes._MAX_SHAPES


@pytest.mark.parametrize(
    "names", [[f"n{n}" for n in range(attributes._MAX_KEPT_ATTRIBUTES + 1)], ["n" * 10_000]]
)
def test_a_shape_that_takes_much_memory_is_not_kept(names: list[str]) -> None:
    assert Attributes(dict.fromkeys(names, "x")).chosen(str.isascii) is not None
    assert tuple(names) not in attributes._shapes


def test_metadata_is_looked_for_where_its_trees_are_only() -> None:
    assert not Attributes({"gen_ai.usage.input_tokens": 1}).may_have_metadata
    assert Attributes({"langsmith.metadata.team": "a"}).may_have_metadata
    assert Attributes({"metadata": "{}"}).may_have_metadata


def _deep(levels: int) -> Any:
    made: Any = "x"
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            0,
            "",
            [],
            {},
            (),
            b"",
            2**63 - 1,
            -(2**63),
            2**64 - 1,
            1.5,
            "é",
            "\U0001f600",
        ),
        *(2**64, -(2**63) - 1, math.inf, math.nan, "\ud800", b"x", {1, 2}, object),
        *(_deep(63), _deep(64), _deep(65), [_deep(63)], {"a": _deep(64)}),
        *({"é": 1}, {"\ud800": 1}, {1: 2}, {"a": ("b",)}, [{"a": [None, {"b": -0.0}]}]),
        *([1] * 50_000, [1] * 50_001, [[1] * 30_000, [2] * 30_000]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_the_same_copied_or_not(value: Any) -> None:
    for each in (value, [value], {"key": value}):
        made = values.plain_event({"observation": {"input": each}})
        assert repr(made["observation"]["input"]) == repr(values.plain(each))


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", '""', '{"a": 1} ', " [1, 2]\n", '"a"', "[1,]", "{]", '{"a"}', "[1] [2]", "["),
        *('{"a": NaN}', "[Infinity]", "[1e999]", '"\\ud800"', "[" * 100_000 + "]" * 100_000),
        *("", " ", "null", "12", "true", '{"a": 1, "a": 2}', "\x1c[1]\x1c", '"a" "b"', "[1]]"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_json_in_an_attribute_is_read_as_the_standard_library_reads_it(text: str) -> None:
    assert repr(values.decoded(text)) == repr(_read(text))


def _read(text: str) -> Any:
    stripped = text.strip()
    if (stripped[:1], stripped[-1:]) not in (("{", "}"), ("[", "]"), ('"', '"')):
        return text
    try:
        return json.loads(stripped, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text
