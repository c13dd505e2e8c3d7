"""What of an event is searched: an index without a copy forgets a text only if it is made again."""

from __future__ import annotations

from typing import Any

import pytest

from sessionbat.server.store.query_terms import text_in, text_of


def within(lists: int, value: Any) -> Any:
    for _ in range(lists):
        value = [value]
    return value


def test_strings_and_numbers_are_searched_in_their_order_and_keys_are_not() -> None:
    value = {"question": "how", "with": [1, 2.5, {"deep": "down"}], "no": [None, True, False, ""]}
    assert text_in(value) == "how\n1\n2.5\ndown"


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
