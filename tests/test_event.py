"""What an event is: its ids, and what is wrong with what is none."""

from __future__ import annotations

import ast
import copy
import os
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sessionbat import event as event_module
from sessionbat.event import (
    MAX_NAME_CHARACTERS,
    EncodedEvent,
    find_problem,
    is_event_id,
    new_event_id,
)

EVENT: dict[str, Any] = {
    "type": "llm",
    "id": "0" * 32,
    "created_at": "2026-11-22T16:00:00Z",
    "app": "app",
    "session_id": "session",
    "interaction_id": "interaction",
    "tags": ["a"],
    "context": {"user_id": "u"},
    "observation": {"kind": "llm", "metadata": {}, "metrics": {}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    event = copy.deepcopy(EVENT)
    *outer, last = path.split(".")
    owner = event[outer[0]] if outer else event
    if value is ...:
        del owner[last]
    else:
        owner[last] = value
    return event


def test_an_id_is_a_uuid_of_version_7_and_the_time() -> None:
    before = time.time_ns() // 1_000_000

    made = UUID(new_event_id())

    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_an_id_is_32_lower_case_hex_digits() -> None:
    made = new_event_id()

    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")


def test_ids_ascend_and_never_repeat() -> None:
    made = [new_event_id() for _ in range(20_000)]

    assert made == sorted(set(made))


def test_threads_never_draw_the_same_id() -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.extend(new_event_id() for _ in range(5_000)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 40_000


def test_ids_differ_when_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module.time, "time_ns", lambda: 1)

    made = [new_event_id() for _ in range(1000)]

    assert made == sorted(set(made))


def test_a_forked_child_draws_other_ids_than_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module.time, "time_ns", lambda: 1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_event_id().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 32).decode()[:28] != new_event_id()[:28]


@pytest.mark.parametrize("given", ["a", "x" * 128, "order 7/é".replace("é", "e"), "~ !"])
def test_printable_ascii_up_to_128_characters_is_an_id(given: str) -> None:
    assert is_event_id(given)


class Text(str):
    def isascii(self) -> bool:
        raise AssertionError("a subclass was asked")


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "é", "a\n", "\x7f", "\0", 5, None, b"a", Text("a")]
)
def test_anything_else_is_no_id(given: object) -> None:
    assert not is_event_id(given)


def test_an_event_is_immutable() -> None:
    event = EncodedEvent("id", b"{}")

    with pytest.raises(AttributeError):
        event.data = b""  # type: ignore[misc]


def test_an_event_has_no_problem() -> None:
    assert find_problem(EVENT) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("interaction_id", ...), ("created_at", ...), ("tags", ...), ("context", None),
        ("observation.metadata", ...), ("observation.metrics", None), ("unknown", {"any": 1}),
        ("type", "handoff"),
    ],
)  # fmt: skip
def test_what_may_be_missing_or_unknown_is_no_problem(path: str, value: object) -> None:
    event = changed(path, value)
    event["observation"]["kind"] = event["type"]

    assert find_problem(event) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("type", ..., "missing; every event has type"),
        ("id", None, "missing; every event has id"),
        ("app", "", "must not be empty"),
        ("session_id", 5, "must be a string, not a number"),
        ("session_id", True, "must be a string, not a boolean"),
        ("interaction_id", [], "must be a string, not an array"),
        ("created_at", 1.5, "must be a string, not a number"),
        ("id", "é", "an id is 1 to 128 printable ASCII characters"),
        ("tags", "a", "must be an array of strings"),
        ("tags", [1], "must be an array of strings"),
        ("context", [], "must be an object, not an array"),
        ("observation", ..., "must be an object, not null"),
        ("observation.kind", "tool", "must equal the event's type"),
        ("observation.metadata", "m", "must be an object, not a string"),
        ("observation.metrics", [1], "must be an object, not an array"),
    ],
)
def test_a_problem_names_its_place_and_what_to_do(path: str, value: object, message: str) -> None:
    assert find_problem(changed(path, value)) == (path, message)


@pytest.mark.parametrize("path", ["type", "app", "session_id", "interaction_id", "created_at"])
def test_a_name_of_the_limit_is_taken_and_a_longer_one_is_not(path: str) -> None:
    def problem(length: int) -> object:
        event = changed(path, "é" * length)
        event["observation"]["kind"] = event["type"]
        return find_problem(event)

    assert problem(MAX_NAME_CHARACTERS) is None
    assert problem(MAX_NAME_CHARACTERS + 1) == (path, "longer than 1024 characters; shorten it")


@pytest.mark.parametrize("given", [None, [], "x", 5])
def test_what_is_no_object_is_no_event(given: object) -> None:
    problem = find_problem(given)

    assert problem is not None
    assert problem.message.startswith("an event is a JSON object, not ")


def test_the_module_itself_imports_next_to_nothing() -> None:
    tree = ast.parse(Path(event_module.__file__).read_text())

    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert imported == {"__future__", "os", "time", "itertools", "typing"}
