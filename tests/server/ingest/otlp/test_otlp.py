"""OTLP over HTTP: its forms, repeats, and what is answered."""

from __future__ import annotations

import gzip
import http.client
import json
from typing import Any

import pytest
import zstandard

from tests.server.ingest.otlp.sending import IN_SESSION, TRACES, post, sessions, spans
from tests.server.ingest.otlp.wire_format import (
    JSON,
    PROTOBUF,
    TRACE,
    as_json,
    chat,
    field,
    json_span,
    protobuf,
    value,
)
from tests.server.wire import Wire


@pytest.mark.parametrize("path", [TRACES, "/otel/v1/traces"])
@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_a_span_is_stored_and_answered_in_the_form_it_came_in(
    server: Wire, form: dict[str, str], encoding: str, path: str
) -> None:
    made = protobuf if form == PROTOBUF else as_json
    body = made([chat(attributes=IN_SESSION)])
    body = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(encoding, bytes)(body)
    answer = post(server, body, form, path, **({"Content-Encoding": encoding} if encoding else {}))
    assert answer.status == 200
    assert answer.headers["content-type"] == form["Content-Type"]
    assert answer.body == (b"" if form == PROTOBUF else b"{}")
    (event,) = server.stored("thread_42")
    assert event["observation"]["metrics"]["input_tokens"] == 120


def test_a_body_in_chunks_is_read(server: Wire) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    body = as_json([chat(attributes=IN_SESSION)])
    pieces = (body[at : at + 500] for at in range(0, len(body), 500))
    connection.request("POST", TRACES, pieces, JSON, encode_chunked=True)
    assert connection.getresponse().read() == b"{}"
    connection.close()
    assert sessions(server) == {"thread_42": 1}


@pytest.mark.parametrize("body", [b"", b"{}", b" ", b'{"resourceSpans": []}'])
def test_a_request_of_nothing_is_answered(server: Wire, body: bytes) -> None:
    form = PROTOBUF if not body else JSON
    assert post(server, body, form).status == 200


def test_names_as_the_protocols_files_write_them_are_read_too(server: Wire) -> None:
    text = as_json([chat(attributes=IN_SESSION)]).decode()
    for name in ("resourceSpans", "scopeSpans", "traceId", "spanId", "startTimeUnixNano"):
        text = text.replace(name, "".join(f"_{c.lower()}" if c.isupper() else c for c in name))
    assert post(server, text.encode(), JSON).body == b"{}"
    assert sessions(server) == {"thread_42": 1}


@pytest.mark.parametrize(
    "given",
    [
        True,
        False,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        1.5,
        -0.25,
        "",
        "é🦇",
        [1, "a", [True]],
        {"a": {"b": 1}},
    ],
)
def test_a_value_of_any_type_comes_through_in_both_forms(server: Wire, given: Any) -> None:
    names = {"gen_ai.tool.name": "t", "gen_ai.operation.name": "execute_tool", **IN_SESSION}
    for number, (made, form) in enumerate(((protobuf, PROTOBUF), (as_json, JSON)), 1):
        said = {**names, "gen_ai.tool.call.arguments": {"x": given}}
        span = {**chat(f"{number:016x}"), "attributes": said}
        assert post(server, made([span]), form).status == 200
    one, other = (event["observation"]["input"] for event in server.stored("thread_42"))
    assert one == other


def test_a_span_sent_twice_is_stored_once(server: Wire) -> None:
    body = protobuf(spans(3, attributes=IN_SESSION))
    for _ in range(3):
        assert post(server, body).body == b""
    assert sessions(server) == {"thread_42": 3}
    assert b"sessionbat_events_duplicate_total 6" in server.get("/metrics").body


def test_a_session_named_last_holds_for_what_was_stored_before(server: Wire) -> None:
    for span in spans(3):
        post(server, protobuf([span]))
    assert sessions(server) == {TRACE: 3}
    post(server, protobuf([chat("00000000000000aa", attributes=IN_SESSION)]))
    assert sessions(server) == {"thread_42": 4}
    post(server, protobuf([chat("00000000000000bb")]))
    assert sessions(server) == {"thread_42": 5}


def test_metrics_are_answered_and_dropped(server: Wire) -> None:
    assert post(server, b"\x0a\x00", path="/v1/metrics").body == b""
    assert post(server, b'{"resourceMetrics": []}', JSON, "/otel/v1/metrics").body == b"{}"
    assert sessions(server) == {}


@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_log_records_of_no_span_are_taken_and_dropped(server: Wire, form: dict[str, str]) -> None:
    records = [{"body": {"stringValue": "started"}, "severityNumber": 9}]
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()
    if form == PROTOBUF:
        body = field(1, field(2, field(2, field(5, value("started")))))
    assert post(server, body, form, "/v1/logs").body in (b"", b"{}")
    assert sessions(server) == {}


def test_spans_sent_as_logs_are_refused_saying_what_belongs_there(standing_server: Wire) -> None:
    answer = post(standing_server, as_json(spans(1)), JSON, "/v1/logs")
    assert answer.status == 400 and "resourceLogs" in json.loads(answer.body)["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_refused(standing_server: Wire, method: str) -> None:
    answer = standing_server.request(method, TRACES, None, JSON)
    assert (answer.status, json.loads(answer.body)["code"]) == (405, 12)


def test_json_spans_and_protobuf_spans_are_the_same_spans(server: Wire) -> None:
    span = chat(attributes=IN_SESSION)
    assert json_span(span)["traceId"] == TRACE
    post(server, protobuf([span]))
    post(server, as_json([span]), JSON)
    assert b"sessionbat_events_duplicate_total 1" in server.get("/metrics").body
