"""What instrumentors really sent, through the server: the same events as all at once in memory."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest

from sessionbat._otel.assembling import assemble
from sessionbat._otel.mapping import map_log, map_span
from tests.otel.captures import FOLDER, logs_of, names, spans_of
from tests.server.ingest.otlp.wire_format import JSON, PROTOBUF
from tests.server.wire import Wire

CAPTURES = sorted(names())
each_capture = pytest.mark.parametrize("name", CAPTURES)


@pytest.fixture(autouse=True)
def _needs_captures() -> None:
    if not FOLDER.exists() and not os.environ.get("CI"):
        pytest.skip("no captures here")


def post(server: Wire, path: str, body: bytes, **headers: str) -> None:
    answer = server.request("POST", path, body, {**PROTOBUF, **headers})
    assert (answer.status, answer.body) in ((200, b""), (200, b"{}")), answer.body


def stored(server: Wire) -> list[dict[str, Any]]:
    events = []
    for session in server.get("/api/v1/sessions", limit=1000).json["items"]:
        events += server.stored(session["session_id"], session["app"])
    return in_order(events)


def expected(name: str) -> list[dict[str, Any]]:
    spans = [part for each in spans_of(name) for part in map_span(each)]
    logs = [part for each in logs_of(name) for part in map_log(each)]
    return in_order(orjson.loads(orjson.dumps(assemble([*spans, *logs]))))


def in_order(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    # The app is the server's to say.
    return sorted(({**each, "app": ""} for each in events), key=lambda each: json.dumps(each))


def requests_of(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a capture one span or record a request."""
    for path, suffix, keys in (
        ("/v1/traces", "", ("resourceSpans", "scopeSpans", "spans")),
        ("/v1/logs", ".logs", ("resourceLogs", "scopeLogs", "logRecords")),
    ):
        file = FOLDER / f"{name}{suffix}.json"
        for resource in json.loads(file.read_text())[keys[0]] if file.exists() else ():
            for scope in resource[keys[1]]:
                for each in scope[keys[2]]:
                    group = {**resource, keys[1]: [{**scope, keys[2]: [each]}]}
                    yield path, {keys[0]: [group]}


@each_capture
def test_a_capture_in_protobuf_gives_its_events(server: Wire, name: str) -> None:
    post(server, "/v1/traces", (FOLDER / f"{name}.pb").read_bytes())
    logs = FOLDER / f"{name}.logs.pb"
    if logs.exists():
        post(server, "/otel/v1/logs", logs.read_bytes())
    assert stored(server) == expected(name)


@each_capture
def test_a_capture_in_json_one_span_a_request_and_twice_gives_the_same(
    server: Wire, name: str
) -> None:
    requests = [*requests_of(name)] * 2
    random.Random(name).shuffle(requests)
    for path, request in requests:
        body = gzip.compress(json.dumps(request).encode())
        post(server, path, body, **JSON, **{"Content-Encoding": "gzip"})
    assert stored(server) == expected(name)


def test_the_requests_of_an_exporter_as_they_came_give_three_spans(server: Wire) -> None:
    for number in ("001", "002", "003"):
        body = (FOLDER / "requests" / f"{number}.body").read_bytes()
        post(server, "/v1/traces", body, **{"Content-Encoding": "gzip"})
    assert server.get("/metrics").body.count(b"sessionbat_events_accepted_total 3") == 1


def test_the_json_of_a_javascript_exporter_is_read(server: Wire) -> None:
    body = (FOLDER / "vercel_ai_v7.otlp-json.body.json").read_bytes()
    post(server, "/v1/traces", body, **JSON)
    assert stored(server)


def test_events_survive_a_rebuild(start_server: Callable[..., Wire], tmp_path: Any) -> None:
    from sessionbat.server.store.opening import check, open_store

    server = start_server()
    post(server, "/v1/traces", (FOLDER / "oi_both_langchain.pb").read_bytes())
    before = stored(server)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = open_store(url)
    store.rebuild()
    store.close()
    assert stored(server) == before
    assert [each for each in check(url) if not each.is_well] == []
