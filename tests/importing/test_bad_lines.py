"""A line that cannot be recorded says why, and costs no other."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from sessionbat._importing.bad import BadLine
from sessionbat._importing.events import parse_event
from sessionbat._importing.json_values import parse_json
from sessionbat._importing.records import read_lines
from sessionbat._importing.transcripts import parse_transcript
from tests.importing.transcripts import HELLO, HI


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff{}", "not UTF-8: byte 1"),
        (b"{", "not JSON: Expecting property name"),
        (b'{"a": NaN}', "not JSON: holds a number"),
        (b'{"a": %s}' % (b"9" * 5000), "not JSON: holds a number"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_json_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_json(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"messages": []}, "session_id is missing"),
        ({"session_id": "", "messages": []}, "session_id is missing"),
        ({"session_id": True, "messages": []}, "session_id is missing"),
        ({"session_id": "s"}, "messages is missing"),
        ({"session_id": "s", "messages": "hi"}, "messages must be an array"),
        ({"session_id": "s", "messages": [HELLO, "hi"]}, r"messages\[1\] is not an object"),
        ({"session_id": "s", "messages": [{"content": ""}]}, r"messages\[0\]\.role is missing"),
        (
            {"session_id": "s", "messages": [{**HI, "tool_calls": {}}]},
            r"messages\[0\]\.tool_calls must be an array",
        ),
        (
            {"session_id": "s", "messages": [{**HI, "tool_calls": [{"function": {}}]}]},
            r"messages\[0\]\.tool_calls\[0\]\.function\.name is missing",
        ),
        ({"session_id": "s", "messages": [{**HI, "n": float("inf")}]}, "holds a number"),
    ],
)
def test_a_transcript_that_cannot_be_recorded_says_why(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_transcript(line)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"session_id": None}, "session_id: missing"),
        ({"id": "é"}, "id: "),
        ({"type": "tool"}, "observation.kind: "),
        ({"tags": [1]}, "tags: "),
        ({"context": {"text": "\ud800"}}, "holds half a character"),
        ({"context": {"n": float("inf")}}, "holds a number"),
    ],
)
def test_an_event_that_no_server_would_store_says_why(change: Any, reason: str) -> None:
    event = {
        "type": "llm",
        "id": "1",
        "app": "a",
        "session_id": "s",
        "observation": {"kind": "llm"},
    }
    with pytest.raises(BadLine, match=f"^{reason}"):
        parse_event(event | change, b"", None)


def test_a_line_over_the_limit_is_skipped_without_being_held() -> None:
    stream = io.BytesIO(b"x" * 3_000_000 + b"\n{}\n" + b"y" * 101)
    assert list(read_lines(stream, max_bytes=100)) == [
        (1, None, 3_000_001),
        (2, b"{}", 3),
        (3, None, 101),
    ]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_of_just_the_limit_is_read(end: bytes) -> None:
    lines = read_lines(io.BytesIO(b"x" * 100 + end), max_bytes=100)
    assert [line.data for line in lines] == [b"x" * 100]


def test_an_event_is_sent_byte_for_byte_unless_it_moves() -> None:
    data = (
        b'{ "type":"llm","id":"1","app":"a","session_id":"s","observation":{"kind":"llm","x":1.10}}'
    )
    assert parse_event(json.loads(data), data, None) == ("1", data)


def test_a_byte_order_mark_and_windows_line_ends_are_no_content() -> None:
    stream = io.BytesIO(b"\xef\xbb\xbf{}\r\n[]\r\n")
    assert [line.data for line in read_lines(stream)] == [b"{}", b"[]"]
