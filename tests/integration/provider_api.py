"""The HTTP APIs of two model providers, as far as their clients need them, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "output_tokens": 20,
}
OPENAI_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
}


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["model"] == "refuses":
            self._answer(429, {"error": {"message": "slow down", "type": "rate_limit_error"}})
        elif asked.get("stream"):
            stream = _openai_stream if "completions" in self.path else _anthropic_stream
            self._send_events(stream(asked))
        else:
            whole = _openai if "completions" in self.path else _anthropic
            self._answer(200, whole(asked))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-secret-header", "do-not-record")
        self._close_after()
        self.wfile.write(data)

    def _send_events(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self._close_after()
        for event in events:
            self.wfile.write(event)

    def _close_after(self) -> None:
        # Both packages keep one connection pool for all event loops; each test has its own loop.
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _openai(asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "Hello there"}
    if asked.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.4-mini-2026-03-17",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": OPENAI_USAGE,
    }


def _openai_stream(asked: dict[str, Any]) -> Iterator[bytes]:
    def chunk(delta: dict[str, Any] | None, **more: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, **more}]
        body: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-5.4-mini-2026-03-17",
            "choices": choices,
        }
        if delta is None:
            body["usage"] = OPENAI_USAGE
        return f"data: {json.dumps(body)}\n\n".encode()

    yield chunk({"role": "assistant", "content": ""})
    if asked.get("tools"):
        yield chunk({"tool_calls": [{"index": 0, **OPENAI_CALL}]})
    else:
        yield chunk({"content": "Hello "})
        yield chunk({"content": "there"})
    yield chunk({}, finish_reason="stop")
    yield chunk(None)
    yield b"data: [DONE]\n\n"


def _anthropic_content(asked: dict[str, Any]) -> list[dict[str, Any]]:
    if asked.get("tools"):
        return [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}}]
    return [{"type": "text", "text": "Hello there"}]


def _anthropic(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test-20260101",
        "content": _anthropic_content(asked),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": ANTHROPIC_USAGE,
    }


def _anthropic_stream(asked: dict[str, Any]) -> Iterator[bytes]:
    def event(kind: str, **body: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n".encode()

    usage = {**ANTHROPIC_USAGE, "output_tokens": 1}
    yield event("message_start", message={**_anthropic(asked), "content": [], "usage": usage})
    (block,) = _anthropic_content(asked)
    if block["type"] == "text":
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for text in ("Hello ", "there"):
            delta = {"type": "text_delta", "text": text}
            yield event("content_block_delta", index=0, delta=delta)
    else:
        yield event("content_block_start", index=0, content_block={**block, "input": {}})
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    yield event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage=ANTHROPIC_USAGE,
    )
    yield event("message_stop")


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    """The address of both APIs; neither client calls anything else."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
