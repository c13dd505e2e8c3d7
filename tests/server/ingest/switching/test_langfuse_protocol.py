"""Langfuse's addresses: spans, scores, the legacy ingestion, and what an SDK asks before."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from sessionbat._otel.assembling import assemble
from tests.otel.test_langfuse import CREATED, TRACE, UPDATED, WHOLE, event, parts
from tests.server.wire import Answer, Wire

FOLDER = Path(__file__).parents[5] / "shared" / "data" / "langfuse"
JSON = {"Content-Type": "application/json"}


def post(server: Wire, name: str, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.request("POST", f"/api/public/{name}", content, {**JSON, **headers})


def ingest(server: Wire, *events: Any, **headers: str) -> Answer:
    return post(server, "ingestion", {"batch": [*events], "metadata": {}}, **headers)


@pytest.mark.skipif(not FOLDER.exists() and "CI" not in os.environ, reason="no captures here")
def test_the_requests_of_the_sdk_as_they_came_are_taken(server: Wire) -> None:
    for head_file in sorted(FOLDER.glob("*.head.json")):
        head = json.loads(head_file.read_text())
        body = head_file.with_name(head_file.name.replace(".head.json", ".body")).read_bytes()
        kept = ("content-type", "content-encoding")
        headers = {key: head["headers"][key] for key in kept if key in head["headers"]}
        assert server.request("POST", head["path"], body, headers).status == 200
    items = server.get("/api/v1/sessions").json["items"]
    found = [each for item in items for each in server.stored(item["session_id"], item["app"])]
    assert {"llm", "feedback"} <= {each["type"] for each in found}


@pytest.mark.parametrize(
    "batches",
    [[[TRACE, CREATED, UPDATED]], [[UPDATED], [CREATED], [TRACE]], [[TRACE], [WHOLE], [WHOLE]]],
)
def test_a_generation_is_one_event_however_it_is_sent(server: Wire, batches: Any) -> None:
    for batch in batches:
        answer = ingest(server, *batch)
        assert answer.status == 207
        assert answer.json == {
            "successes": [{"id": each["id"], "status": 201} for each in batch],
            "errors": [],
        }
    app = server.get("/api/v1/sessions").json["items"][0]["app"]
    wanted = orjson.loads(orjson.dumps(assemble(parts(TRACE, WHOLE))))
    assert server.stored("thread_42", app) == [{**wanted[0], "app": app}]


BROKEN: dict[str, Any] = {
    "nothing": None,
    "text": "x",
    "no body": {"id": "x", "type": "trace-create"},
    "no id": event("generation-create", traceId="t"),
    "a type that is not known": event("dataset-create", id="x"),
    "a score of nothing": event("score-create", id="x", name="q", value=1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_one_event_leaves_its_neighbours(server: Wire, name: str) -> None:
    answer = ingest(server, BROKEN[name], TRACE, BROKEN[name], WHOLE)
    assert answer.status == 207
    assert [each["id"] for each in answer.json["successes"]] == [TRACE["id"], WHOLE["id"]]
    assert [each["status"] for each in answer.json["errors"]] == [400, 400]
    (item,) = server.get("/api/v1/sessions").json["items"]
    assert item["session_id"] == "thread_42"


def test_a_log_of_the_sdk_is_taken(server: Wire) -> None:
    assert ingest(server, event("sdk-log", log={})).json["errors"] == []


@pytest.mark.parametrize(
    ("name", "body", "status", "slug"),
    [
        ("ingestion", b"{", 400, "not-json"),
        ("ingestion", b"[]", 400, "bad-event"),
        ("ingestion", b'{"batch": {}}', 400, "bad-event"),
        ("scores", b"", 400, "not-json"),
        ("scores", b"nope", 400, "not-json"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    server: Wire, name: str, body: bytes, status: int, slug: str
) -> None:
    answer = post(server, name, body)
    assert (answer.status, answer.slug) == (status, slug)


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("name", ["ingestion", "scores"])
def test_as_many_as_may_be_are_taken(
    start_server: Callable[..., Wire], beyond: int, name: str
) -> None:
    server = start_server(max_body_events=5)
    scores = [{"id": f"s{n}", "traceId": "t", "name": "q", "value": 1} for n in range(5 + beyond)]
    body = {"batch": [event("score-create", **each) for each in scores]}
    answer = post(server, name, scores if name == "scores" else body)
    assert answer.status == (413 if beyond else 207 if name == "ingestion" else 200)


@pytest.mark.parametrize("as_list", [False, True])
def test_a_score_is_feedback_in_the_session_of_its_trace(server: Wire, as_list: bool) -> None:
    score = {"id": "s1", "traceId": "t", "observationId": "g", "name": "thumbs", "value": 1}
    answer = post(server, "scores", [score] if as_list else score)
    assert (answer.status, answer.json["id"]) == (200, "s1")
    ingest(server, TRACE, WHOLE)
    (item,) = server.get("/api/v1/sessions").json["items"]
    call, feedback = sorted(
        server.stored("thread_42", item["app"]), key=lambda each: str(each["type"]), reverse=True
    )
    assert feedback["feedback"]["observation_id"] == call["id"]


def test_a_score_of_nothing_is_named_and_the_others_kept(server: Wire) -> None:
    good = {"id": "s1", "sessionId": "thread_42", "name": "q", "value": 1}
    answer = post(server, "scores", [good, {"value": 1}, 7])
    assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (207, 1, 2)


def test_an_sdk_finds_health_and_its_project(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    server = start_server()
    pair = base64.b64encode(f"pk:{make_key('ingest', 'support-bot')}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    health = server.request("GET", "/api/public/health", None, headers)
    assert health.json["status"] == "OK"
    projects = server.request("GET", "/api/public/projects", None, headers)
    assert [each["name"] for each in projects.json["data"]] == ["support-bot"]
    wrong = base64.b64encode(b"pk:sk-of-theirs").decode()
    refused = server.request(
        "GET", "/api/public/projects", None, {"Authorization": f"Basic {wrong}"}
    )
    assert refused.status == 401


def test_a_batch_may_be_compressed(server: Wire) -> None:
    body = gzip.compress(json.dumps({"batch": [TRACE, WHOLE]}).encode())
    assert post(server, "ingestion", body, **{"Content-Encoding": "gzip"}).status == 207
