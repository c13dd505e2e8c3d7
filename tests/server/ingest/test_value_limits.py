"""Values are counted in time and memory that the limit bounds, whatever the strings are."""

from __future__ import annotations

import json
import random
import time
import tracemalloc

import pytest

from sessionbat.server.ingest import value_limits
from sessionbat.server.ingest.value_limits import MAX_VALUES, holds_more_than

HOSTILE = {
    "strings that end in a backslash": b'["\\' + b'",,"\\' * 5_000_000 + b'"]',
    "escaped quotes": b'["' + b'\\"' * 15_000_000 + b'"]' + b"," * (MAX_VALUES + 1),
    "backslashes": b'["' + b"\\" * 30_000_000 + b'"]' + b"," * (MAX_VALUES + 1),
    "quotes": b'",' * 15_000_000,
    "empty objects": b"{}," * 10_000_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_too_many_are_told_soon_and_in_little_memory(text: bytes) -> None:
    tracemalloc.start()
    started = time.thread_time()
    assert holds_more_than(MAX_VALUES, text)
    seconds = time.thread_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5  # measured: 0.2; the first was 9.6
    assert peak < 100_000_000  # beside the text; the first took 1.1 GB


@pytest.mark.parametrize("part", [1, 2, 3, 7, 50])
def test_separators_within_strings_are_no_values(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_limits, "_PART_BYTES", part)
    pick = random.Random(part)
    for _ in range(500):
        strings = ["".join(pick.choices('",{[\\a', k=pick.randrange(9))) for _ in range(5)]
        text = json.dumps({"a": strings, "b": {strings[0]: 1}}).encode()
        assert not holds_more_than(8, text)  # two objects, a list, five commas
        assert holds_more_than(7, text)
