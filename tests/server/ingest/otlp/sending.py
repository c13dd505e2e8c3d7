"""Sends spans to a server, and asks it what came of them."""

from __future__ import annotations

from typing import Any

from tests.server.ingest.otlp.wire_format import PROTOBUF, chat
from tests.server.wire import Answer, Wire

IN_SESSION = {"gen_ai.conversation.id": "thread_42"}
TRACES = "/v1/traces"


def post(
    server: Wire, body: bytes, form: dict[str, str] = PROTOBUF, path: str = TRACES, **headers: str
) -> Answer:
    return server.request("POST", path, body, {**form, **headers})


def sessions(server: Wire) -> dict[str, int]:
    items = server.get("/api/v1/sessions").json["items"]
    return {item["session_id"]: item["observations"] for item in items}


def spans(number: int, **more: Any) -> list[dict[str, Any]]:
    return [chat(f"{n:016x}", **more) for n in range(1, number + 1)]
