"""Lines of a transcript, and how the tests bring them to a server and ask what it has."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from sessionbat._importing.transcripts import Transcript, parse_transcript
from sessionbat.importing import ImportSummary, import_lines
from sessionbat.transports import IngestionTransport

HELLO = {"role": "user", "content": "Hello"}


HI = {"role": "assistant", "content": "Hi!"}


def transcript(*messages: dict[str, Any]) -> Transcript:
    return parse_transcript({"session_id": "s", "messages": list(messages)})


def chat_line(session_id: str, *messages: dict[str, Any]) -> str:
    return json.dumps({"session_id": session_id, "messages": messages}, ensure_ascii=False)


def assistant(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@contextmanager
def closing_transport(url: str) -> Iterator[IngestionTransport]:
    transport = IngestionTransport(endpoint=url)
    try:
        yield transport
    finally:
        transport.close(0)


def import_text(
    url: str = "",
    text: str = "",
    *,
    transport: IngestionTransport | None = None,
    bad: list[tuple[int, str]] | None = None,
    **options: Any,
) -> ImportSummary:
    if transport is None:
        with closing_transport(url) as transport:
            return import_text(text=text, transport=transport, bad=bad, **options)
    reports = [] if bad is None else bad
    return import_lines(
        io.BytesIO(text.encode()),
        name="file.jsonl",
        transport=transport,
        on_bad_line=lambda number, reason: reports.append((number, reason)),
        **options,
    )


def import_file(url: str, path: Path) -> ImportSummary:
    with path.open("rb") as stream, closing_transport(url) as transport:
        return import_lines(
            stream,
            name=str(path),
            transport=transport,
            on_bad_line=lambda number, reason: pytest.fail(f"line {number}: {reason}"),
        )


def get(url: str) -> bytes:
    with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def ask(url: str, path: str, **query: object) -> Iterator[dict[str, Any]]:
    while True:
        page = json.loads(get(f"{url}/api/v1/{path}?{urlencode(query)}"))
        yield from page["items"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def export(url: str, app: str, session_id: str) -> list[dict[str, Any]]:
    return list(ask(url, "events", app=app, session_id=session_id))


def figures(url: str) -> dict[str, tuple[int, int]]:
    """Model calls and tool calls of each session, as the session list has them."""
    return {s["session_id"]: (s["llm_calls"], s["tool_calls"]) for s in ask(url, "sessions")}
