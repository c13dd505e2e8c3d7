"""One conversation in each spelling that people have, and how a test brings it to a server."""

from __future__ import annotations

import io
import json
from typing import Any, Final
from urllib.request import ProxyHandler, build_opener

import zstandard

from sessionbat._importing.bad import BadLine
from sessionbat._importing.records import read_records, refuse_unread
from sessionbat._importing.transcripts import Step, parse_transcript
from sessionbat.importing import ImportSummary, import_lines
from sessionbat.transports import IngestionTransport

QUESTION: Final = {"role": "user", "content": "Where is my parcel?"}


ANSWER: Final = {"role": "assistant", "content": "It is lost."}


CHAT: Final = {"session_id": "s", "messages": [QUESTION, ANSWER]}


LINES: Final = b"".join(
    json.dumps({**CHAT, "session_id": f"s{n}"}).encode() + b"\n" for n in range(3)
)


#: One conversation in each spelling: a question, a call of ``track`` that fails, an answer.
SPELLINGS: Final[dict[str, Any]] = {
    "chat": {
        "session_id": "s",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "track", "arguments": '{"n": 7}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "no such parcel", "error": True},
            ANSWER,
        ],
    },
    "chat, function_call": {
        "session_id": "s",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "track", "arguments": '{"n": 7}'},
            },
            {"role": "function", "name": "track", "content": "no such parcel", "status": "error"},
            ANSWER,
        ],
    },
    "anthropic": {
        "session_id": "s",
        "system": "Be brief.",
        "messages": [
            QUESTION,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "tool_use", "id": "c", "name": "track", "input": {"n": 7}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c",
                        "content": [{"type": "text", "text": "no such parcel"}],
                        "is_error": True,
                    }
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "It is lost."}]},
        ],
    },
    "responses": {
        "session_id": "s",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Where is my parcel?"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "track", "arguments": '{"n": 7}'},
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": "no such parcel",
                "status": "failed",
            },
        ],
        "output": [
            {"type": "web_search_call", "status": "completed"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "It is lost."}],
            },
        ],
    },
    "gemini": {
        "session_id": "s",
        "contents": [
            {"role": "user", "parts": [{"text": "Where is my parcel?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "track", "args": {"n": 7}}}]},
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "name": "track",
                            "response": "no such parcel",
                            "error": True,
                        }
                    }
                ],
            },
        ],
        "candidates": [{"content": {"role": "model", "parts": [{"text": "It is lost."}]}}],
    },
    "bedrock": {
        "session_id": "s",
        "messages": [
            {"role": "user", "content": [{"text": "Where is my parcel?"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "c", "name": "track", "input": {"n": 7}}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "toolResult": {
                            "toolUseId": "c",
                            "content": [{"text": "no such parcel"}],
                            "status": "error",
                        }
                    }
                ],
            },
        ],
        "output": {"message": {"role": "assistant", "content": [{"text": "It is lost."}]}},
    },
    "langchain": {
        "session_id": "s",
        "messages": [
            {"type": "human", "data": {"content": "Where is my parcel?"}},
            {
                "type": "ai",
                "data": {
                    "content": "",
                    "tool_calls": [{"id": "c", "name": "track", "args": {"n": 7}}],
                },
            },
            {
                "type": "tool",
                "data": {"content": "no such parcel", "tool_call_id": "c", "status": "error"},
            },
            {"type": "ai", "data": {"content": "It is lost."}},
        ],
    },
    "langchain, dumpd": {
        "session_id": "s",
        "messages": [
            {"lc": 1, "type": "constructor", "id": ["l", name], "kwargs": kwargs}
            for name, kwargs in (
                ("HumanMessage", {"content": "Where is my parcel?"}),
                (
                    "AIMessage",
                    {"content": "", "tool_calls": [{"id": "c", "name": "track", "args": {"n": 7}}]},
                ),
                (
                    "ToolMessage",
                    {"content": "no such parcel", "tool_call_id": "c", "status": "error"},
                ),
                ("AIMessage", {"content": "It is lost."}),
            )
        ],
    },
}


def laid_out(text: str | bytes, **options: Any) -> list[Any]:
    """Read records: each decoded, or the line and reason of what is wrong."""
    found: list[Any] = []
    data = text if isinstance(text, bytes) else text.encode()
    for record in read_records(io.BytesIO(data), **options):
        try:
            found.append(json.loads(refuse_unread(record)))
        except (BadLine, ValueError) as problem:
            found.append((record.number, str(problem).partition(" (")[0]))
    return found


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def steps_of(record: Any) -> list[Step]:
    return list(parse_transcript(record).steps())


def import_bytes(
    url: str,
    data: bytes,
    *,
    name: str = "file.jsonl",
    bad: list[tuple[int, str]] | None = None,
    **options: Any,
) -> ImportSummary:
    reports = [] if bad is None else bad
    transport = IngestionTransport(endpoint=url)
    try:
        return import_lines(
            io.BytesIO(data),
            name=name,
            transport=transport,
            on_bad_line=lambda number, reason: reports.append((number, reason)),
            **options,
        )
    finally:
        transport.close(0)


def open_page(url: str) -> str:
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body.decode()


def get(url: str) -> Any:
    return json.loads(open_page(url))
