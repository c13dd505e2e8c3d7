"""How many JSON values a page holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionbat.server.reading.json_values import count_roughly, unwrap
from sessionbat.server.reading.values import Values
from sessionbat.server.records import StoredEvent


def stored(observation: dict[str, Any], **envelope: Any) -> StoredEvent:
    return StoredEvent(
        "e1", json.dumps({"id": "e1", **envelope, "observation": observation}).encode()
    )


def size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(size, value.values()))
    return 1 + sum(map(size, value)) if isinstance(value, list) else 1


def test_an_event_of_few_values_stays_as_it_is() -> None:
    given = stored({"input": {"a": [1, 2, {}]}}, context={"user_id": "u"})
    assert Values(100).read(given) == given.event


@pytest.mark.parametrize("part", ["input", "output", "metadata", "metrics", "error", "unknown"])
def test_a_part_of_too_many_values_is_cut_and_the_others_stay(part: str) -> None:
    observation = {"kind": "tool", "name": "t", part: [{"n": n} for n in range(90_000)]}
    read = Values(10**6).read(stored(observation, session_id="s"))
    assert read["observation"]["kind"] == "tool"
    assert read["session_id"] == "s"
    assert size(read) < 55_000
    left = read["observation"][part]
    assert left[-1] == f"… and {90_000 - len(left) + 1} more"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["context", "tags", "unknown"])
def test_a_part_of_the_envelope_with_too_many_values_is_cut_too(part: str) -> None:
    read = Values(10**6).read(
        stored({"input": "hello"}, **{part: {str(n): n for n in range(90_000)}})
    )
    assert size(read) < 2_000
    assert read["observation"] == {"input": "hello"}
    assert read[part]["…"].startswith("and ")


def test_on_a_page_that_is_full_events_are_cut_shorter() -> None:
    values = Values(100_000)
    events = [stored({"input": [{}] * 40_000}) for _ in range(20)]
    assert sum(size(values.read(each)) for each in events) < 170_000


def test_a_string_that_holds_too_many_values_stays_a_string() -> None:
    text = "[" + ",".join(["{}"] * 60_000) + "]"
    assert unwrap(text) == text
    assert Values(10**6).unwrap(text) == text
    assert Values(0).unwrap("[" + "1," * 2_000 + "1]").startswith("[1,")
    assert Values(10**6).unwrap('{"a": 1}') == {"a": 1}


def test_strings_take_room_too() -> None:
    values = Values(50_000)
    text = "[" + ",".join(["1"] * 40_000) + "]"
    assert [isinstance(values.unwrap(text), list) for _ in range(3)] == [True, True, False]
    assert count_roughly(text) == 40_000
