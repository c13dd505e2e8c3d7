"""Spans that go out are read by the published classes of OpenTelemetry, which are not ours.

They refuse an unknown field, a number out of range and a text that is no UTF-8.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat.transports import OTLPTransport
from tests.collector import Collector
from tests.world import need

ODD: dict[str, Any] = {
    "nested": {"a": [1, {"b": None}], "": "no name"},
    "large": [2**63 - 1, 2**63, -(2**63) - 1, 10**400],
    "floats": [0.1, math.nan, math.inf, -math.inf],
    "texts": ["", "\0", "\ud800 alone", "日本", "\u2028"],
    "bytes": b"\xff\x00",
    "self": object(),
}


def published(body: bytes) -> list[Any]:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = json_format.Parse(body, ExportTraceServiceRequest())
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.mark.slow
def test_whatever_is_recorded_the_published_classes_read_it() -> None:
    need("opentelemetry.proto")
    with Collector() as collector:
        transport = OTLPTransport(collector.url, spool=False)
        client = SessionBat(app="support-bot", transport=transport)
        session = client.session(session_id="s", tags=["a"], context={"user_id": "u", **ODD})
        turn = session.interaction()
        figures = {"input_tokens": 2**53 + 1, "output_tokens": 18, "cost_usd": 0.5, "odd": math.nan}
        huge = {"input_tokens": 2**70, "output_tokens": -(2**70), "cost_usd": 10**30}
        turn.llm(
            model="m", metrics=huge, metadata={"parameters": {"top_k": 2**70, "stop": [2**70]}}
        )
        for odd in ODD.values():
            turn.llm(model="m", input=odd, output=odd, metrics=figures, metadata=ODD)
            turn.tool_call(tool_name="t", input=odd, output=odd, error=ValueError("no"))
            turn.retrieval(query="q", documents=[{"id": "d", "text": odd}])
        turn.feedback(score=1, comment="\ud800")
        session.outcome("helped")
        assert client.flush(10)
        client.close(1)
        spans = [span for request in collector.requests for span in published(request.body)]
        assert not collector.malformed
    assert len(spans) == 3 * len(ODD) + 3
    for span in spans:
        said = {each.key: each.value for each in span.attributes}
        assert len(said) == len(span.attributes)  # no name twice
        assert said["gen_ai.conversation.id"].string_value == "s"
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.name
