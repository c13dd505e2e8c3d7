"""An event as a whole: what each field may take of it, and what is left out or moved."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from sessionbat._encoding import (
    Snapshot,
    encode_event,
    is_plain,
)
from sessionbat._encoding.plain_values import MAX_DEPTH
from sessionbat.event import MAX_EVENT_BYTES, MIN_EVENT_BYTES
from tests.encoding.values import (
    OBSERVATION_KEYS,
    TRAP_NAME,
    SomeClass,
    Trap,
    a_cycle,
    cpu_ms,
    event_line,
    nested,
    observation_of,
    parsed,
)

ELEVEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "cycle": (a_cycle, ["<cycle>"]),
    "NaN and inf": (lambda: [math.nan, math.inf], [None, None]),
    "lone surrogate": (lambda: "\ud800", "�"),
    "bytes": (lambda: b"abc", {"type": "bytes", "size": 3, "base64": "YWJj"}),
    "set": (lambda: {1}, [1]),
    "repr raises": (Trap, TRAP_NAME),
    "3,000 deep": (
        lambda: nested(3000),
        nested(MAX_DEPTH, "<depth>"),
    ),
    "10**40": (lambda: 10**40, "1" + "0" * 40),
    "tuple key": (lambda: {(1, 2): 3}, {"(1, 2)": 3}),
    "NUL": (lambda: "a\0b", "a\0b"),
    "generator": (lambda: (n for n in [1]), "<generator>"),
}


@pytest.mark.parametrize("name", ELEVEN)
@pytest.mark.parametrize("place", ["input", "output", "metadata", "error"])
def test_each_of_the_eleven_bad_values_arrives(name: str, place: str) -> None:
    make, expected = ELEVEN[name]

    found = observation_of(**{place: {"value": make()}}) if name != "3,000 deep" else None

    if found is None:
        assert observation_of(**{place: make()} if place != "metadata" else {"input": make()})
    else:
        assert found[place] == {"value": expected}


def test_every_field_keeps_a_share_of_the_nodes() -> None:
    wide = [[n] for n in range(60_000)]

    found = observation_of(input=wide, output=wide, error=wide, metadata={"m": wide}, metrics={})

    assert min(len(found["error"]), len(found["output"]), len(found["input"])) >= 400
    assert len(found["metadata"]["m"]) >= 400


def test_many_small_items_lose_their_last_and_say_so() -> None:
    found = observation_of(64 * 1024, input=[1 / 3 + n for n in range(40_000)], output="kept")

    assert found["input"][-1] == f"<{40_000 - len(found['input']) + 1} more>"
    assert len(found["input"]) > 500
    assert found["output"] == "kept"
    assert found["truncated"]["original_bytes"] > 64 * 1024


def test_of_many_documents_the_first_are_kept_whole() -> None:
    documents = [{"id": n, "score": n / 3, "source": ["a", "b"]} for n in range(20_000)]

    wide = observation_of(input=documents)["input"]
    cut = observation_of(64 * 1024, input=documents[:5000])["input"]

    for found, number in ((wide, 20_000), (cut, 5000)):
        whole = sum(one == other for one, other in zip(found, documents, strict=False))
        assert whole > 50
        assert found[:whole] == documents[:whole]
        assert len(found) <= whole + 2
        assert found[-1] == f"<{number - len(found) + 1} more>"


def test_many_long_keys_are_left_out_visibly() -> None:
    found = observation_of(input={"k" * 1000 + str(n): n for n in range(20_000)})

    assert list(found["input"])[-1].endswith(" more>")
    assert found["truncated"]["original_bytes"] > MAX_EVENT_BYTES


def test_a_long_key_in_many_objects_is_not_written_many_times() -> None:
    key = "k" * 1_000_000

    took = cpu_ms(lambda: event_line(input=[{key: n} for n in range(3_000)]))

    assert took < 2000  # written each time it would be 5 GB
    found = observation_of(input=[{key: n} for n in range(3_000)])["input"]
    assert found[0] == {"k" * 1000 + "…[+999000 characters]": 0}


def test_a_text_of_many_short_strings_is_not_cut_to_marks_only() -> None:
    found = observation_of(256 * 1024, input=["word " * 4 for _ in range(40_000)])

    assert found["input"][0] == "word " * 4
    assert found["input"][-1].endswith(" more>")


def test_an_event_of_the_limit_exactly_is_not_cut() -> None:
    empty = len(event_line(input=""))

    line = event_line(input="x" * (MAX_EVENT_BYTES - empty))

    assert len(line) == MAX_EVENT_BYTES
    assert "truncated" not in parsed(line)["observation"]


def test_a_number_that_is_none_moves_from_metrics_to_metadata() -> None:
    found = observation_of(metrics={"a": 10**40, "b": 1}, metadata={"a": SomeClass()})

    assert found["metrics"] == {"b": 1}
    assert found["metadata"] == {"a": "<example.SomeClass>", "metrics.a": "1" + "0" * 40}


def test_metadata_that_is_no_object_becomes_one() -> None:
    assert observation_of(metadata=[Decimal(1)])["metadata"] == {"metadata": ["1"]}


def test_a_snapshot_is_written_as_the_value_it_was_taken_of() -> None:
    value = {"a": [1, "é"], "b": None}

    assert event_line(input=Snapshot(value))[-200:] == event_line(input=value)[-200:]


def test_a_snapshot_beside_a_value_to_convert_is_written_as_well() -> None:
    found = observation_of(input=Snapshot({"a": 1}), output=SomeClass())

    assert (found["input"], found["output"]) == ({"a": 1}, "<example.SomeClass>")


def test_a_snapshot_that_was_cut_says_so_in_the_event() -> None:
    found = observation_of(input=Snapshot("x" * 5_000_000))

    assert found["truncated"]["original_bytes"] >= 5_000_000
    assert found["input"].endswith(" characters]")


def test_an_event_whose_conversion_fails_arrives_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sessionbat._encoding.encoder.to_plain", fail)

    found = observation_of(input=SomeClass(), name="n")

    assert (found["input"], found["name"]) == ("<not encoded: MemoryError>", "n")


def test_a_huge_context_cannot_make_an_event_too_long() -> None:
    envelope = {"type": "llm", "id": "i", "context": orjson.Fragment(b'"' + b"x" * 99_999 + b'"')}
    fields = dict.fromkeys(OBSERVATION_KEYS) | {"kind": "llm"}

    line = encode_event(envelope, fields, MIN_EVENT_BYTES)

    assert len(line) <= MIN_EVENT_BYTES
    assert parsed(line)["observation"]["input"] == "<not shown: too long>"


def test_plain_values_are_recognized_as_plain() -> None:
    assert is_plain([{"a": [1, 2.5, None, True, "x", (1,)]}])
    assert not is_plain([{"a": SomeClass()}])
    assert not is_plain(["xx"], max_characters=1)


def test_no_module_of_arrays_or_numbers_is_loaded_for_encoding() -> None:
    import subprocess

    code = """if True:
        import sys
        import orjson
        before = set(sys.modules)
        import sessionbat._encoding, sessionbat._scope
        print(*(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert not loaded & {"decimal", "fractions", "pathlib", "base64", "numpy", "logging", "asyncio"}
