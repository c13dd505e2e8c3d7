"""A backend on its own port that hands each request to a server, and answers as it is told."""

from __future__ import annotations

from collections.abc import Callable

from sessionbat.testing import Answer, Request
from tests.collector import Collector, spans_of
from tests.server.ingest.otlp.sending import TRACES
from tests.server.wire import Wire

#: From a request and the server's own answer to what is answered.
Answering = Callable[[Request, Answer], Answer]


def forwarding(server: Wire, answering: Answering) -> Collector:
    """Make a backend between a sender and a server; what it takes the server has stored."""

    def forward(request: Request) -> Answer:
        body = request.body  # inflated
        answer = server.request("POST", TRACES, body, {"Content-Type": "application/json"})
        assert answer.status == 200, answer.body
        own = Answer(200, {"Content-Type": "application/json"}, answer.body)
        return answering(request, own)

    return Collector(forward)


def count_of(request: Request) -> int:
    """How many spans a request has."""
    return len(spans_of(request))
