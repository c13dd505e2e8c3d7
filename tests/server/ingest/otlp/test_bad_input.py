"""What is wrong with one span harms no other, and with a body is said in its own form."""

from __future__ import annotations

import gzip
import http.client
import json
import resource
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat._otel import placing
from sessionbat.server.ingest.otlp import parts
from sessionbat.server.store.sqlite import span_group, span_rows
from tests.server.ingest.otlp.sending import IN_SESSION, TRACES, post, sessions, spans
from tests.server.ingest.otlp.wire_format import (
    JSON,
    PROTOBUF,
    START_NS,
    TRACE,
    as_json,
    chat,
    field,
    partial_of,
    protobuf,
    status_of,
    value,
    varint,
)
from tests.server.wire import Wire


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/octet-stream", ""]
)
def test_protobuf_under_another_content_type_is_read_and_it_is_said(
    server: Wire, content_type: str
) -> None:
    answer = post(server, protobuf([chat(attributes=IN_SESSION)]), {"Content-Type": content_type})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert sessions(server) == {"thread_42": 1}
    if content_type == "application/json":
        assert "content type" in partial_of(answer.body)[1]


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "text/plain", ""])
@pytest.mark.parametrize("before", [b"", b"\n", b" \r\n"])
def test_json_under_another_content_type_is_read_and_it_is_said(
    server: Wire, content_type: str, before: bytes
) -> None:
    body = before + as_json([chat(attributes=IN_SESSION)])
    answer = post(server, body, {"Content-Type": content_type})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert "content type" in json.loads(answer.body)["partialSuccess"]["errorMessage"]
    assert sessions(server) == {"thread_42": 1}


@pytest.mark.parametrize(
    ("trace", "span"),
    [
        (bytes.fromhex(TRACE), b""),
        (b"", b"\1" * 8),
        (b"\0" * 16, b"\1" * 8),
        (bytes.fromhex(TRACE), b"\0" * 8),
        (bytes.fromhex(TRACE)[:15], b"\1" * 8),
        (bytes.fromhex(TRACE), b"\1" * 9),
    ],
)
def test_a_span_without_ids_is_rejected_and_its_neighbours_kept(
    server: Wire, trace: bytes, span: bytes
) -> None:
    bad = {**chat(attributes=IN_SESSION), "trace": trace, "span": span}
    one, other = spans(2, attributes=IN_SESSION)
    rejected, why = partial_of(post(server, protobuf([one, bad, other])).body)
    assert rejected == 1 and "spans[1]" in why and "id" in why
    assert sessions(server) == {"thread_42": 2}


@pytest.mark.parametrize("written", ["upper", "base64", "bytes that are text"])
def test_ids_in_another_form_are_the_same_ids(server: Wire, written: str) -> None:
    span = chat(attributes=IN_SESSION)
    if written == "bytes that are text":
        odd = {**span, "trace": span["trace"].encode(), "span": span["span"].encode()}
        answer = post(server, protobuf([odd]))
        assert answer.body == b""
    else:
        request = json.loads(as_json([span]))
        (found,) = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for name in ("traceId", "spanId"):
            as_bytes = bytes.fromhex(found[name])
            found[name] = (
                b64encode(as_bytes).decode() if written == "base64" else found[name].upper()
            )
        assert post(server, json.dumps(request).encode(), JSON).body == b"{}"
    assert post(server, protobuf([span])).body == b""
    assert sessions(server) == {"thread_42": 1}


@pytest.mark.parametrize("id_", ["xyz", "0af7", 7, "é" * 32, "=" * 24])
def test_ids_in_no_form_are_rejected_saying_what_belongs_there(server: Wire, id_: Any) -> None:
    request = json.loads(as_json(spans(3, attributes=IN_SESSION)))
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["traceId"] = id_
    answer = json.loads(post(server, json.dumps(request).encode(), JSON).body)["partialSuccess"]
    assert answer["rejectedSpans"] == "1" and "spans[1]" in answer["errorMessage"]
    assert sessions(server) == {"thread_42": 2}


def test_every_cut_of_a_body_is_refused_or_keeps_whole_spans(standing_server: Wire) -> None:
    body = protobuf(spans(2))
    for length in range(1, len(body), 7):
        answer = post(standing_server, body[:length])
        assert answer.status == 400, length
        code, message = status_of(answer.body)
        assert code == 3 and "cut short" in message


@pytest.mark.parametrize("body", [b"\x0b", b"\xff" * 20, b"hello", b"\x0a\x05\x0a", b"[1]", b"nul"])
@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_a_body_that_is_neither_is_refused(
    standing_server: Wire, body: bytes, form: dict[str, str]
) -> None:
    answer = post(standing_server, body, form)
    assert answer.status == 400
    if form == JSON:
        assert json.loads(answer.body)["code"] == 3
    else:
        assert status_of(answer.body)[0] == 3


@pytest.mark.parametrize(
    "broken",
    [
        b"\x4a\x7f",  # an attribute longer than its span
        b"\x4a\x03\x12\x7f\x01",  # a value longer than its attribute
        b"\x39\x01",  # half a number
        b"\x0f",  # no such kind of field
        b"\x4a" + varint(2**62),
    ],
)
def test_a_span_that_is_broken_inside_is_rejected_and_its_neighbours_kept(
    server: Wire, broken: bytes
) -> None:
    bad = {**chat(), "raw": broken}
    one, other = spans(2, attributes=IN_SESSION)
    rejected, why = partial_of(post(server, protobuf([one, bad, other])).body)
    assert rejected == 1 and "spans[1]" in why
    assert sessions(server) == {"thread_42": 2}


def test_fields_that_a_later_protocol_may_have_are_passed_over(server: Wire) -> None:
    later = field(200, "later") + varint(201 << 3) + varint(2**63) + varint(202 << 3 | 5) + b"1234"
    assert post(server, protobuf([{**chat(attributes=IN_SESSION), "raw": later}])).body == b""
    assert sessions(server) == {"thread_42": 1}


def test_text_that_is_no_utf8_harms_nobody(server: Wire) -> None:
    raw = field(9, field(1, b"k\xff") + field(2, field(1, b"\xff\xfe")))
    assert post(server, protobuf([{**chat(attributes=IN_SESSION), "raw": raw}])).body == b""
    assert sessions(server) == {"thread_42": 1}


@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_an_attribute_of_ten_megabytes_is_kept(server: Wire, form: dict[str, str]) -> None:
    made = protobuf if form == PROTOBUF else as_json
    text = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 10_000_000}]}])
    span = chat(attributes={"gen_ai.input.messages": text, **IN_SESSION})
    assert post(server, made([span]), form).status == 200
    (event,) = server.stored("thread_42")
    assert len(json.dumps(event["observation"]["input"])) >= 10_000_000


def test_a_million_attributes_cost_bounded_memory_and_their_neighbours_are_kept(
    server: Wire,
) -> None:
    attribute = field(9, field(1, "k") + field(2, value(1)))
    bad = {**chat(), "raw": attribute * 1_000_000}
    one, other = spans(2, attributes=IN_SESSION)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rejected, why = partial_of(post(server, protobuf([one, bad, other])).body)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert rejected == 1 and "too-many-values" in why
    assert sessions(server) == {"thread_42": 2}
    assert grown < 150_000  # KB; the server runs in this process


def test_empty_attributes_up_to_the_length_of_a_body_cost_bounded_memory(server: Wire) -> None:
    bad = {**chat(), "raw": b"\x4a\x00" * 15_000_000}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert partial_of(post(server, protobuf([bad])).body)[0] == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_many_values_of_many_spans_are_too_many_for_one_body(server: Wire) -> None:
    attribute = field(9, field(1, "k") + field(2, value(1)))
    large = [{**each, "raw": attribute * 210_000} for each in spans(5)]
    answer = post(server, protobuf(large))
    assert answer.status == 413 and "too-many-values" in status_of(answer.body)[1]


@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
@pytest.mark.parametrize(("levels", "rejected"), [(60, 0), (66, 1), (300, 1)])
def test_what_is_nested_too_deep_is_rejected_and_its_neighbours_kept(
    server: Wire, form: dict[str, str], levels: int, rejected: int
) -> None:
    made = protobuf if form == PROTOBUF else as_json
    deep: Any = "end"
    for _ in range(levels):
        deep = [deep]
    bad = chat("00000000000000aa", attributes={"deep": deep, **IN_SESSION})
    answer = post(server, made([*spans(2, attributes=IN_SESSION), bad]), form)
    assert answer.status == 200
    assert sessions(server) == {"thread_42": 3 - rejected}


def test_more_spans_than_a_body_may_hold_are_refused(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_body_events=10)
    assert post(server, protobuf(spans(10, attributes=IN_SESSION))).status == 200
    answer = post(server, protobuf(spans(11)))
    assert answer.status == 413 and "too-many-events" in status_of(answer.body)[1]


def test_a_body_that_is_too_long_is_refused_in_its_form(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_body_bytes=1000)
    body = gzip.compress(protobuf(spans(20)))
    answer = post(server, body, **{"Content-Encoding": "gzip"})
    assert answer.status == 413 and "1000" in status_of(answer.body)[1]
    answer = post(server, as_json(spans(20)), JSON)
    assert answer.status == 413 and json.loads(answer.body)["code"] == 3


def test_of_a_trace_that_never_ends_so_many_spans_are_looked_at(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def place(facts: Any) -> Any:
        looked_at.append(len(facts))
        return placing.place(facts)

    monkeypatch.setattr(parts, "place", place)
    for module in (span_rows, span_group):
        monkeypatch.setattr(module, "MAX_SPANS_OF_TRACE", 100)
    numbers = iter(range(1, 10_000))
    for count in (100, 1, 300, 300, 1, 7):
        sent = [chat(f"{next(numbers):016x}", attributes=IN_SESSION) for _ in range(count)]
        assert post(server, protobuf(sent)).body == b""
    assert 107 <= max(looked_at) <= 400  # a body may be stored in two commits
    assert sessions(server) == {"thread_42": 709}


def test_clocks_that_differ_by_hours_change_nothing_but_times(server: Wire) -> None:
    hour = 3600 * 10**9
    ahead = chat("00000000000000aa", start=START_NS + 5 * hour, end=START_NS + 5 * hour + 1)
    behind = chat("00000000000000bb", start=START_NS - 5 * hour, end=START_NS - 5 * hour + 1)
    none = chat("00000000000000cc", start=0, end=0)
    backwards = chat("00000000000000dd", start=START_NS, end=START_NS - hour)
    far = chat("00000000000000ee", start=2**64 - 1, end=2**64 - 1)
    named = chat("00000000000000ff", attributes=IN_SESSION)
    assert post(server, protobuf([ahead, behind, none, backwards, far, named])).body == b""
    assert sessions(server) == {"thread_42": 6}


def test_two_sessions_in_one_trace_are_two_sessions(server: Wire) -> None:
    one = chat("00000000000000aa", attributes={"gen_ai.conversation.id": "one"})
    two = chat("00000000000000bb", attributes={"gen_ai.conversation.id": "two"})
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_order"}
    child = {**chat("00000000000000cc"), "parent": "00000000000000bb", "attributes": tool}
    for span in (child, one, two):
        post(server, protobuf([span]))
    assert sessions(server) == {"one": 1, "two": 2}


def test_what_may_be_sent_again_says_when(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_waiting_requests=0)
    answer = post(server, protobuf([chat()]))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert status_of(answer.body)[0] == 14


def test_a_slow_body_is_not_final_to_a_client(start_server: Callable[..., Wire]) -> None:
    server = start_server(body_timeout=0.2)
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.putrequest("POST", TRACES)
    connection.putheader("Content-Type", "application/x-protobuf")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"\x0a")
    response = connection.getresponse()
    assert (response.status, response.getheader("Retry-After")) == (503, "1")
    connection.close()
