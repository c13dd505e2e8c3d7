"""Events delivered as OpenTelemetry spans: what is sent, each answer, and where nobody answers."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionbat import ConfigurationError, SessionBat
from sessionbat.event import EncodedEvent
from sessionbat.spooled import list_spools, send
from sessionbat.testing import Answer, Endpoint, Request, unused_port
from sessionbat.transports import MemoryTransport, OTLPTransport
from tests.collector import Collector, partial, spans_of, took
from tests.conftest import assert_adds_up, eventually
from tests.faults.conftest import quick_backoff  # noqa: F401 - a fixture

EXAMPLE = Path(__file__).parents[2] / "examples" / "otlp_beside.py"
KEY = {"Authorization": "Bearer lf-secret-1"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running
        assert not running.malformed


@pytest.fixture(autouse=True)
def _environment_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS", "TRACES_ENDPOINT", "TRACES_HEADERS"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


Make = Callable[..., SessionBat]


@pytest.fixture
def make(collector: Collector) -> Iterator[Make]:
    made: list[SessionBat] = []

    def client(**options: Any) -> SessionBat:
        given = {"endpoint": collector.url, "spool": False, **options}
        made.append(SessionBat(app="support-bot", transport=OTLPTransport(**given)))
        return made[-1]

    yield client
    for each in made:
        assert_adds_up(each)
        each.close(0)


def record(client: SessionBat, count: int = 1) -> list[str]:
    turn = client.session(session_id="s").interaction(interaction_id="i")
    return [turn.llm(model="m", input=f"question {n}", output="answer") for n in range(count)]


def test_what_arrives_is_a_request_in_the_json_of_the_protocol(
    collector: Collector, make: Make
) -> None:
    client = make(headers=KEY)
    turn = client.session(session_id="s").interaction()
    figures = {"input_tokens": 2**53 + 1, "cost_usd": 0.5, "http_status": 200}
    turn.llm(model="m", metrics=figures, metadata={"finish_reason": "stop"}, error="no")
    assert client.flush(10)
    request = collector.requests[0]
    assert b'"intValue":"9007199254740993"' in request.body
    assert request.path == "/v1/traces"
    assert request.headers["authorization"] == KEY["Authorization"]
    assert request.content_type == "application/json"
    for span in spans_of(request):
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
        assert re.fullmatch("[0-9]{19}", span["startTimeUnixNano"])
        assert type(span["kind"]) is int and type(span["status"]["code"]) is int
        for each in span["attributes"]:
            ((kind, value),) = each["value"].items()
            assert kind in ("stringValue", "intValue", "doubleValue", "arrayValue")
            assert kind != "intValue" or type(value) is str
    assert_lower_camel_case(json.loads(request.body))


def assert_lower_camel_case(value: Any) -> None:
    if isinstance(value, dict):
        assert all(re.fullmatch("[a-z][A-Za-z]*", name) for name in value)
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            assert_lower_camel_case(inner)


def test_what_arrives_is_read_back_as_the_very_events(collector: Collector, make: Make) -> None:
    client, memory = make(), MemoryTransport()
    kept = SessionBat(app="support-bot", transport=memory)
    for each in (client, kept):
        turn = each.session(session_id="s").interaction(interaction_id="i")
        turn.llm(model="m", input="q", output="a", observation_id="1", started_at="x")
        turn.tool_call(tool_name="t", input={"a": [1, 2.5]}, observation_id="2")
        turn.retrieval(query="q", documents=[{"id": "d"}], observation_id="3")
        each.session(session_id="s").feedback(score=1)
    assert client.flush(10)
    arrived, wanted = (
        sorted(map(without_what_differs, events), key=json.dumps)
        for events in (collector.events, memory.events)
    )
    assert arrived == wanted


def without_what_differs(event: dict[str, Any]) -> dict[str, Any]:
    apart = {"created_at": None, "id": event["id"] if "observation" in event else None}
    return dict(sorted({**event, **apart}.items()))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.usefixtures("quick_backoff")
def test_an_answer_that_may_pass_is_tried_again_with_the_same_spans(
    collector: Collector, make: Make, status: int
) -> None:
    collector.behave = lambda r: Answer(status) if r.number < 2 else took(r)
    client = make()
    record(client)
    assert client.flush(10)
    assert len(collector.requests) == 3
    assert len({request.body for request in collector.requests}) == 1


def test_a_broken_connection_is_tried_again(collector: Collector, make: Make) -> None:
    collector.behave = lambda r: Answer(reset=True) if r.number == 0 else took(r)
    client = make()
    record(client)
    assert client.flush(10)


def test_retry_after_is_kept_to(collector: Collector, make: Make) -> None:
    collector.behave = lambda r: Answer(429, {"Retry-After": "1"}) if r.number == 0 else took(r)
    client = make()
    record(client)
    assert client.flush(10)
    first, second = collector.requests
    assert second.at - first.at >= 0.95


@pytest.mark.parametrize(
    ("rejected", "dropped"), [(1, 1), ("2", 2), (0, 0), (99, 3), (-1, 0), ("x", 0)]
)
def test_spans_that_a_backend_rejects_in_part_are_dropped_and_counted(
    collector: Collector, make: Make, rejected: int | str, dropped: int
) -> None:
    gate = hold_first(collector)
    client = make()
    record(client)
    eventually(lambda: collector.requests)
    record(client, 3)
    gate(lambda r: took(r) if r.number == 0 else partial(rejected))
    assert bool(client.flush(10)) is (dropped == 0)
    stats = client.stats()
    assert sum(stats.dropped.values()) == dropped
    assert set(stats.dropped) <= {"refused:partial-success"}
    assert stats.delivered == 4 - dropped


def hold_first(collector: Collector) -> Callable[[Callable[[Request], Answer]], None]:
    """Let the first request wait until it is said what all are answered with."""
    answers: list[Callable[[Request], Answer]] = []
    collector.behave = lambda r: eventually(lambda: answers)[0](r)
    return answers.append


@pytest.mark.parametrize("status", [400, 402, 409, 410, 422, 431])
def test_a_refusal_is_counted_and_warned_of_once(
    collector: Collector, make: Make, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    collector.behave = lambda _: Answer(status)
    client = make()
    record(client, 3)
    assert not client.flush(10)
    assert client.stats().dropped == {f"refused:http-{status}": 3}
    told = [line for line in caplog.messages if "[refused]" in line]
    assert len(told) == 1
    assert "question" not in caplog.text


def test_of_a_refused_request_only_the_bad_event_is_lost(collector: Collector, make: Make) -> None:
    collector.behave = lambda r: Answer(400) if b"question 3" in r.body else took(r)
    client = make()
    record(client, 8)
    client.flush(10)
    assert client.stats().dropped == {"refused:http-400": 1}
    assert client.stats().delivered == 7


def test_an_event_that_is_too_large_is_cut_and_sent(collector: Collector, make: Make) -> None:
    collector.behave = lambda r: Answer(413) if len(r.body) > 200_000 else took(r)
    client = make()
    client.session().interaction().llm(model="m", input="x" * 300_000, output="a")
    record(client, 3)
    assert client.flush(10)
    assert client.stats().delivered == 4


@pytest.mark.parametrize(
    ("status", "slug"), [(401, "denied"), (403, "denied"), (404, "wrong-address")]
)
def test_a_mistake_in_the_settings_loses_nothing_and_is_said_once(
    collector: Collector, make: Make, status: int, slug: str, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    collector.behave = lambda _: Answer(status)
    client = make(headers=KEY)
    record(client, 3)
    eventually(lambda: caplog.messages)
    assert client.stats().pending == 3
    (told,) = caplog.messages
    assert f"[{slug}]" in told
    assert "secret" not in told
    assert slug == "denied" or "https://host/v1/traces" in told


def test_a_web_page_is_no_success(collector: Collector, make: Make) -> None:
    collector.behave = lambda _: Answer(200, {"Content-Type": "text/html"}, b"<html>Log in")
    client = make()
    record(client)
    assert client.flush(0.3).pending == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\x0a\x00", b'{"partialSuccess":null}', b"7"])
def test_any_other_success_is_one(collector: Collector, make: Make, body: bytes) -> None:
    collector.behave = lambda _: Answer(200, {}, body)
    client = make()
    record(client, 2)
    assert client.flush(10)


def test_a_backend_that_takes_no_compression_gets_it_plain(
    collector: Collector, make: Make
) -> None:
    collector.behave = lambda r: Answer(415) if "content-encoding" in r.headers else took(r)
    client = make()
    record(client, 2)
    assert client.flush(10)
    record(client, 2)
    assert client.flush(10)
    assert ["content-encoding" in r.headers for r in collector.requests].count(True) == 1


def test_a_line_that_is_no_event_costs_nobody_else(collector: Collector, make: Make) -> None:
    client = make()
    transport = client._recorder.transport
    assert isinstance(transport, OTLPTransport)
    for line in (b"7", b"{", b"[" * 3000, b"{}"):
        transport.send(EncodedEvent("x", line))
    record(client, 2)
    client.flush(10)
    assert client.stats().dropped == {"refused:not-encoded": 3}
    assert client.stats().delivered == 3


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("https://h/api/public/otel/v1/traces", "https://h/api/public/otel/v1/traces"),
        ("https://h/v1/traces?x=1", "https://h/v1/traces?x=1"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(endpoint: str, url: str) -> None:
    assert OTLPTransport(endpoint).endpoint == url


def test_the_environment_of_opentelemetry_is_used_where_nothing_is_given(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    base = collector.url.removesuffix("/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k-1, x-project = p ")
    client = SessionBat(app="a", transport=OTLPTransport(spool=False))
    record(client)
    assert client.flush(10)
    headers = collector.requests[0].headers
    assert (headers["authorization"], headers["x-project"]) == ("Bearer k-1", "p")
    client.close(1)


def test_headers_of_the_environment_go_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, make: Make
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://elsewhere.example")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k-1")
    client = make()
    record(client)
    assert client.flush(10)
    assert "authorization" not in collector.requests[0].headers


@pytest.mark.parametrize(
    ("endpoint", "headers", "slug"),
    [
        (None, None, "no-otlp-endpoint"),
        ("", None, "no-otlp-endpoint"),
        ("localhost:4318", None, "bad-endpoint"),
        ("https://u:p-secret@h/v1/traces", None, "bad-endpoint"),
        ("https://h", {"X": "a\nsecret"}, "bad-otlp-header"),
        ("https://h", {"X": "sécret"}, "bad-otlp-header"),
        ("https://h", {"X": 7}, "bad-otlp-header"),
        ("https://h", {"Bearer secret": "x"}, "bad-otlp-header"),
        ("https://h", {"Content-Type": "x"}, "bad-otlp-header"),
        ("https://h", "authorization=secret", "bad-otlp-header"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_telling_a_key(
    endpoint: Any, headers: Any, slug: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        OTLPTransport(endpoint, headers)
    assert refused.value.slug == slug
    assert "ecret" not in str(refused.value)


@pytest.mark.usefixtures("quick_backoff")
def test_what_a_backend_did_not_take_waits_on_disk_for_the_next(make: Make) -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1/traces"
    client = make(endpoint=url, spool=True)
    record(client, 5)
    eventually(lambda: client.stats().spooled == 5)
    (spooled,) = list_spools()
    assert (spooled.endpoint, spooled.wire, spooled.events) == (url, "otlp", 5)


def test_spools_of_other_headers_are_apart_unless_the_app_is_named(make: Make) -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1/traces"
    clients = [
        make(endpoint=url, spool=True, headers={"x-key": key}, app=app)
        for key, app in (("1", None), ("2", None), ("3", "bot"), ("4", "bot"))
    ]
    for client in clients:
        record(client)
        eventually(lambda client=client: client.stats().spooled == 1)
    assert len(list_spools()) == 3
    assert all("x-key" not in str(spooled) for spooled in list_spools())


def test_sending_a_spool_needs_the_headers_in_the_environment(make: Make) -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1/traces"
    client = make(endpoint=url, spool=True, headers=KEY, app="bot")
    record(client)
    eventually(lambda: client.stats().spooled == 1)
    (spooled,) = list_spools()
    with pytest.raises(ConfigurationError) as refused:
        list(send(spooled, 1))
    assert refused.value.slug == "no-otlp-headers"


def test_a_copy_is_the_same_and_a_pickle_has_no_headers(
    make: Make, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make(headers=KEY, app="bot")
    transport = client._recorder.transport
    assert copy.deepcopy(transport) is transport
    data = pickle.dumps(transport)
    assert b"secret" not in data
    lost = SessionBat(app="a", transport=pickle.loads(data))
    record(lost)
    assert lost.stats().dropped == {"no-otlp-headers": 1}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20again")
    found = SessionBat(app="a", transport=pickle.loads(data))
    record(found)
    assert found.flush(10)
    assert collector.requests[-1].headers["authorization"] == "Bearer again"
    found.close(1)


@pytest.mark.slow
def test_the_example_sends_to_both(endpoint: Endpoint, collector: Collector) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, endpoint.url, collector.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("delivered=1") == 2
    assert len(endpoint.acknowledged) == 1
    assert endpoint.acknowledged == collector.acknowledged
