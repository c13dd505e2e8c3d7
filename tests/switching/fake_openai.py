"""A provider that speaks OpenAI's chat completions on loopback, with known figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 18,
    "total_tokens": 138,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 6},
}
ANSWER = "It arrives on Friday."


@contextmanager
def provider() -> Iterator[str]:
    """Run it, and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("stream"):
            self._answer("text/event-stream", b"".join(_events(asked["model"])))
        elif "fail" in json.dumps(asked["messages"]):
            self._answer("application/json", b'{"error": {"message": "no luck"}}', 400)
        else:
            self._answer("application/json", json.dumps(_completion(asked["model"])).encode())

    def _answer(self, media_type: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _completion(model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    about = {"id": "chatcmpl-1", "created": 1, "model": model, "object": "chat.completion"}
    return {**about, "choices": [choice], "usage": USAGE}


def _events(model: str) -> Iterator[bytes]:
    about = {"id": "chatcmpl-2", "created": 1, "model": model, "object": "chat.completion.chunk"}
    for word in ANSWER.split(" "):
        choice = {"index": 0, "delta": {"role": "assistant", "content": f"{word} "}}
        yield _event({**about, "choices": [choice]})
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield _event({**about, "choices": [last]})
    yield _event({**about, "choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


def _event(said: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"
