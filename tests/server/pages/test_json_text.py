"""JSON for reading: short things on one line, everything bounded, nothing cut in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionbat.server.pages.view.json_text import print_json
from sessionbat.server.reading.json_values import gist, unwrap

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def printed(value: Any, **limits: int) -> str:
    limits = {"max_lines": 1000, "max_characters": 10_000, **limits}
    text = print_json(value, **limits)
    return "\n".join(line.indent + line.key + line.text + line.tail for line in text.lines)


@pytest.mark.slow
@given(json_values)
def test_a_value_printed_in_full_is_the_same_json(value: Any) -> None:
    assert json.loads(printed(value)) == value


def test_a_small_object_stands_on_one_line() -> None:
    assert printed({"a": [1, None, True], "b": {"c": "d"}}) == (
        '{"a": [1, null, true], "b": {"c": "d"}}'
    )


def test_lines_and_strings_beyond_the_limit_are_cut_and_said_to_be() -> None:
    text = print_json({"a": "x" * 500}, max_lines=10, max_characters=100)
    assert text.cut
    assert "…[+400 characters]" in text.lines[1].text
    assert print_json(list(range(900)), max_lines=10, max_characters=9).cut
    assert not print_json(list(range(900)), max_lines=902, max_characters=9).cut


@pytest.mark.slow
@given(json_values, st.integers(10, 200))
def test_a_gist_is_one_line_of_bounded_length(value: Any, limit: int) -> None:
    text = gist(value, limit)
    assert len(text) <= limit + 1
    assert "\n" not in text


def test_a_gist_of_something_enormous_costs_nothing_like_its_size() -> None:
    assert gist([{"key": "value"}] * 1_000_000, 20).endswith("…")


def test_only_strings_that_hold_json_are_unwrapped() -> None:
    assert unwrap('{"a": 1}') == {"a": 1}
    for text in ("{a}", "[1", "", "12", "[" * 5000 + "]" * 5000, 5):
        assert unwrap(text) == text
