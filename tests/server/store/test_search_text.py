"""What of an event is searched: an index without a copy forgets a text only if it is made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sessionbat.server.store.query_terms import MAX_CHARACTERS, text_in, text_of


def within(lists: int, value: Any) -> Any:
    for _ in range(lists):
        value = [value]
    return value


def test_strings_and_numbers_are_searched_in_their_order_and_keys_are_not() -> None:
    value = {"question": "how", "with": [1, 2.5, {"deep": "down"}], "no": [None, True, False, ""]}
    assert text_in(value) == "how\n1\n2.5\ndown"


@pytest.mark.parametrize(
    "values",
    [
        [*range(100)],
        [n / 7 for n in range(100)],
        [0, -1.5, 1e300, 10**18] * 20,
        [*range(50), True, *range(50)],
        [*range(50), None, "word", {"a": 1}, *range(50)],
        [[n / 3 for n in range(40)], [*range(40)], ["a"] * 40],
        {f"k{n}": n for n in range(40)},
    ],
)
def test_many_numbers_are_searched_as_a_few_are(values: Any) -> None:
    def flat(value: Any) -> Iterator[str]:
        if isinstance(value, list | dict):
            for each in value.values() if isinstance(value, dict) else value:
                yield from flat(each)
        elif value is not None and value is not True:
            yield str(value)

    assert text_in(values) == "\n".join(flat(values))


@pytest.mark.parametrize("number", [7, 12345, -0.123456789])
def test_of_very_many_numbers_the_first_million_characters_are_searched(number: float) -> None:
    whole = "\n".join([str(number)] * 240_000)
    for values in ([number] * 240_000, [[number] * 1_000] * 240, [[number] * 8] * 30_000):
        assert text_in(values) == whole[:MAX_CHARACTERS]


def test_name_input_output_and_error_of_an_event_are_searched() -> None:
    observation = {
        "kind": "tool",
        "error": {"message": "late"},
        "output": "out",
        "input": ["in"],
        "name": "tool",
        "metadata": {"model": "m"},
    }
    assert text_of({"id": "e1", "observation": observation}) == "tool\nin\nout\nlate"


def test_encoded_bytes_are_not_searched() -> None:
    assert text_in(["A" * 300, "data:image/png;base64," + "b" * 300, "A " * 300]) == "A " * 300


@pytest.mark.parametrize(("lists", "is_found"), [(64, True), (65, False)])
def test_a_value_is_searched_64_levels_deep(lists: int, is_found: bool) -> None:
    assert text_in(within(lists, "word")) == ("word" if is_found else "")


@pytest.mark.parametrize(("lists", "is_found"), [(63, True), (64, False)])
def test_an_event_is_searched_63_levels_deep(lists: int, is_found: bool) -> None:
    event = {"observation": {"input": within(lists, "word")}}
    assert text_of(event) == ("word" if is_found else "")
