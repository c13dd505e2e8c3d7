"""What the server's tests send and how: events as dicts, and HTTP without anything in between."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

PATH = "/api/v1/ingestion/events"


def event(id: str = "e1", **changes: Any) -> dict[str, Any]:
    """Make an event; what starts with ``observation__`` goes into its observation."""
    observation = {
        name.removeprefix("observation__"): changes.pop(name)
        for name in list(changes)
        if name.startswith("observation__")
    }
    kind = changes.get("type", "llm")
    return {
        "type": kind,
        "id": id,
        "created_at": "2026-11-22T16:00:00Z",
        "app": "support-bot",
        "session_id": "thread_1",
        "interaction_id": None,
        "tags": [],
        "context": {},
        **changes,
        "observation": {"kind": kind, "input": None, "error": None, "metrics": {}, **observation},
    }


def ndjson(*events: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        return self.json["error"]["slug"]


class Wire:
    """One client of a server, a connection for each request.

    Args:
        url: The server.
        headers: Sent with each request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.headers = dict(headers or {})
        parts = urlsplit(url)
        self.address = (parts.hostname, parts.port)

    def with_key(self, key: str) -> Wire:
        """Give a client of the same server that sends this key with each request."""
        return Wire(self.url, {"Authorization": f"Bearer {key}"})

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            answer_headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answer_headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **parameters: Any) -> Answer:
        return self.request("GET", f"{path}?{urlencode(parameters)}")

    def send(
        self,
        body: Any,
        content_type: str | None = "application/json",
        encoding: str | None = None,
    ) -> Answer:
        """Post a body to the ingestion endpoint; what is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Content-Encoding": encoding}
        return self.request("POST", PATH, data, {k: v for k, v in headers.items() if v})

    def send_lines(self, *events: Any, encoding: str | None = None) -> Answer:
        return self.send(ndjson(*events), "application/x-ndjson", encoding)

    def stored(self, session_id: str = "thread_1", app: str = "support-bot") -> list[Any]:
        """Give the events of a session, all of its pages."""
        items: list[Any] = []
        after = ""
        while True:
            answer = self.get(
                "/api/v1/events", app=app, session_id=session_id, limit=1000, after=after
            )
            if answer.status == 404:
                return items
            items += answer.json["items"]
            after = answer.json["next"]
            if after is None:
                return items
