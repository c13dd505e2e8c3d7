"""A backend that takes OpenTelemetry traces, on a real socket, and misbehaves on order."""

from __future__ import annotations

import json
from typing import Any

from sessionbat._otel.assembling import assemble
from sessionbat._otel.mapping import map_span
from sessionbat.testing import Answer, Endpoint, Request
from tests.otel.captures import spans_in


def took(_: Request) -> Answer:
    """Take everything."""
    return Answer(200, {"Content-Type": "application/json"}, b"{}")


def partial(rejected: int | str) -> Answer:
    """Take a request but for some of its spans."""
    body = {"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "too many"}}
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def spans_of(request: Request) -> list[dict[str, Any]]:
    """The spans of a request, as JSON has them."""
    return [
        span
        for resource in json.loads(request.body)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


class Collector(Endpoint):
    """Takes export requests; ``acknowledged`` names the events whose spans it took."""

    def __init__(self, behave: Any = took, port: int = 0) -> None:
        super().__init__(behave, port)
        self.url = f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of everything it was sent, read back by the mapper."""
        spans = [span for r in self.requests for span in spans_in(json.loads(r.body))]
        return assemble(part for span in spans for part in map_span(span))

    def _stored(self, request: Request, answer: Answer) -> list[str]:
        return [
            each["value"]["stringValue"]
            for span in spans_of(request)
            for each in span["attributes"]
            if each["key"] == "sessionbat.id"
        ]
