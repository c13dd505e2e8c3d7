"""LangSmith's addresses: forms of a body, what is wrong with a run or a body, keys."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import zstandard

from sessionbat._otel.assembling import assemble
from sessionbat._otel.langsmith_runs import run_parts
from tests.otel.langsmith_requests import FOLDER, runs_of
from tests.otel.test_langsmith import OWN, ROOT, beginning, end, run
from tests.server.wire import Answer, Wire

BOUNDARY = "a8dfe10116374a869962e9bddc7d938b"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}


def form(*parts: tuple[str, Any], is_whole: bool = True) -> bytes:
    """Write a form; a value that is bytes goes in as it is."""
    written = b""
    for name, value in parts:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        head = f'Content-Disposition: form-data; name="{name}"\r\nContent-Type: application/json'
        written += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return written + (f"--{BOUNDARY}--\r\n".encode() if is_whole else b"")


def in_parts(kind: str, given: dict[str, Any]) -> list[tuple[str, Any]]:
    """Take a run apart as the SDK does."""
    fields = ("inputs", "outputs", "extra", "events", "error")
    own = {key: value for key, value in given.items() if key not in fields}
    name = f"{kind}.{given['id']}"
    return [(name, own), *((f"{name}.{key}", given[key]) for key in fields if key in given)]


def post(
    server: Wire, path: str, body: Any, headers: dict[str, str] = JSON, method: str = "POST"
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.request(method, path, content, headers)


def only(server: Wire) -> dict[str, Any]:
    (event,) = server.stored("thread_42")
    found: dict[str, Any] = event
    return found


def wanted(*runs: dict[str, Any]) -> list[dict[str, Any]]:
    made = assemble([part for each in runs for part in run_parts(each)])
    found: list[dict[str, Any]] = orjson.loads(orjson.dumps(made))
    return found


def test_info_says_forms_and_zstd(server: Wire) -> None:
    said = server.get("/info").json
    assert said["batch_ingest_config"]["use_multipart_endpoint"] is True
    assert said["instance_flags"]["zstd_compression_enabled"] is True
    assert 0 < said["batch_ingest_config"]["size_limit_bytes"] <= 20 * 1024 * 1024


@pytest.mark.skipif(not FOLDER.exists() and "CI" not in os.environ, reason="no captures here")
@pytest.mark.parametrize("name", ["plain", "zstd"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_the_requests_of_the_sdk_as_they_came_give_their_events(
    server: Wire, name: str, is_turned: bool
) -> None:
    heads = sorted((FOLDER / name).glob("*.head.json"), reverse=is_turned)
    for head_file in heads * 2:
        head = json.loads(head_file.read_text())
        body = head_file.with_name(head_file.name.replace(".head.json", ".body")).read_bytes()
        kept = ("content-type", "content-encoding", "x-pre-compressed-size")
        headers = {key: head["headers"][key] for key in kept if key in head["headers"]}
        assert post(server, head["path"], body, headers).status == 202
    found = sorted(server.stored("thread_42"), key=lambda each: str(each["id"]))
    assert found == sorted(wanted(*runs_of(name)), key=lambda each: str(each["id"]))


WAYS: dict[str, Callable[[Wire], Answer]] = {
    "a batch": lambda server: post(
        server, "/runs/batch", {"post": [beginning()], "patch": [end()]}
    ),
    "one at a time": lambda server: (
        post(server, "/runs", beginning()),
        post(server, f"/runs/{OWN}", {k: v for k, v in end().items() if k != "id"}, JSON, "PATCH"),
    )[1],
    "an end first": lambda server: (
        post(server, f"/runs/{OWN}", end(), JSON, "PATCH"),
        post(server, "/runs", beginning()),
    )[1],
    "a form": lambda server: post(
        server,
        "/runs/multipart",
        form(*in_parts("post", beginning()), *in_parts("patch", end())),
        FORM,
    ),
    "a form with the boundary in quotes": lambda server: post(
        server,
        "/runs/multipart",
        form(*in_parts("post", beginning()), *in_parts("patch", end())),
        {"Content-Type": f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'},
    ),
    "a form without an end": lambda server: post(
        server,
        "/runs/multipart",
        form(*in_parts("post", beginning()), *in_parts("patch", end()), is_whole=False),
        FORM,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_send_a_run_gives_the_same_event(server: Wire, way: str) -> None:
    assert WAYS[way](server).status == 202
    assert [only(server)] == wanted(beginning(), end())


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity"])
def test_a_form_may_be_compressed(server: Wire, encoding: str) -> None:
    pack = {"gzip": gzip.compress, "zstd": zstandard.compress, "identity": bytes}[encoding]
    body = pack(form(*in_parts("post", run())))
    headers = {**FORM, "Content-Encoding": encoding, "x-pre-compressed-size": "7"}
    assert post(server, "/runs/multipart", body, headers).status == 202
    assert only(server)["observation"]["metrics"]["input_tokens"] == 120


def test_a_run_without_an_end_is_shown_as_unfinished(server: Wire) -> None:
    post(server, "/runs", beginning())
    assert only(server)["observation"]["metadata"]["status"] == "unfinished"


BROKEN: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "JSON that is none": ([("post.x", b'{"id":')], 1),
    "a field that is none": ([("post.x.outputs", b"{'a'}"), ("post.x", {"run_type": "chain"})], 1),
    "a number": ([("post.x", 7)], 1),
    "names that are not known": ([("put.x", {}), ("post", {}), ("", {})], 3),
    "a field that is not known": ([(f"post.{OWN}.colour", {"blue": 1})], 0),
    "an attachment": ([(f"attachment.{OWN}.picture", b"\x89PNG\x00\xff\r\n\r\n")], 0),
    "feedback on nothing": ([("feedback.f", {"key": "k", "score": 1})], 1),
    "a part without headers": ([(f'x"\r\n\r\n--{BOUNDARY}\r\nno: "', b"")], 2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_one_run_leaves_its_neighbours(server: Wire, name: str) -> None:
    parts, rejected = BROKEN[name]
    body = form(*parts, *in_parts("post", run()), *parts)
    answer = post(server, "/runs/multipart", body, FORM)
    assert answer.status == 202, answer.body
    assert len(answer.json["rejected"]) in (rejected, 2 * rejected)
    assert only(server)["id"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "slug"),
    [
        ("/runs/multipart", form(), JSON, 400, "not-multipart"),
        ("/runs/multipart", form(), {"Content-Type": "multipart/form-data"}, 400, "not-multipart"),
        ("/runs/multipart", b"anything", FORM, 400, "not-multipart"),
        ("/runs/multipart", b"", FORM, 400, "not-multipart"),
        ("/runs/multipart", b"x", {**FORM, "Content-Encoding": "zstd"}, 400, "bad-encoding"),
        ("/runs/multipart", b"x", {**FORM, "Content-Encoding": "br"}, 415, "unknown-encoding"),
        ("/runs/batch", b"{", JSON, 400, "not-json"),
        ("/runs", b"", JSON, 400, "not-json"),
        ("/runs", b"[]", JSON, 422, "bad-event"),
        ("/runs", b"{}", JSON, 422, "bad-event"),
        ("/feedback", b"{}", JSON, 422, "bad-feedback"),
        ("/feedback", b"[1]", JSON, 422, "bad-feedback"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    server: Wire, path: str, body: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    answer = post(server, path, body, headers)
    assert (answer.status, answer.slug) == (status, slug)


@pytest.mark.parametrize("beyond", [0, 1])
def test_as_many_runs_as_may_be_are_taken(start_server: Callable[..., Wire], beyond: int) -> None:
    server = start_server(max_body_events=5)
    runs = [run(id=f"r{n}") for n in range(5 + beyond)]
    batch = post(server, "/runs/batch", {"post": runs})
    parts = [part for each in runs for part in in_parts("post", each)]
    multipart = post(server, "/runs/multipart", form(*parts), FORM)
    wanted = (413, 413) if beyond else (202, 202)
    assert (batch.status, multipart.status) == wanted


def test_very_many_parts_are_refused(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_body_events=5)
    body = form(*((f"nothing.{n}", 1) for n in range(41)))
    assert post(server, "/runs/multipart", body, FORM).slug == "too-many-events"


@pytest.mark.parametrize("comes_first", [False, True])
@pytest.mark.parametrize("by_form", [False, True])
def test_feedback_is_in_the_session_of_its_run(
    start_server: Callable[..., Wire],
    make_key: Callable[..., str],
    comes_first: bool,
    by_form: bool,
) -> None:
    server = start_server()
    key = {"x-api-key": make_key("ingest", "support-bot")}
    said = {"id": "f1", "run_id": OWN, "trace_id": ROOT, "key": "thumbs", "score": 0}

    def send_feedback() -> Answer:
        if by_form:
            return post(server, "/runs/multipart", form(("feedback.f1", said)), {**FORM, **key})
        return post(server, "/feedback", said, {**JSON, **key})

    def send_run() -> Answer:
        return post(server, "/runs", run(session_name="a project"), {**JSON, **key})

    steps = (send_feedback, send_run) if comes_first else (send_run, send_feedback)
    assert [step().status for step in steps] == [202, 202]
    reader = server.with_key(make_key("read"))
    call, feedback = sorted(reader.stored("thread_42"), key=lambda each: str(each["type"]))[::-1]
    assert feedback["feedback"]["observation_id"] == call["id"]
    assert feedback["feedback"]["score"] == 0
    assert feedback["app"] == call["app"] == "support-bot"
    assert len(reader.get("/api/v1/sessions").json["items"]) == 1


def test_without_keys_a_project_is_the_app_and_feedback_finds_it(server: Wire) -> None:
    post(server, "/runs", run(session_name="my project"))
    said = {"id": "f1", "run_id": ROOT, "trace_id": ROOT, "key": "thumbs", "score": 1}
    post(server, "/feedback", said)
    assert {each["type"] for each in server.stored("thread_42", "my project")} == {
        "llm",
        "feedback",
    }


@pytest.mark.parametrize("path", ["/info", "/runs", "/runs/batch", "/feedback"])
def test_a_key_that_reads_may_not_send(
    start_server: Callable[..., Wire], make_key: Callable[..., str], path: str
) -> None:
    server = start_server()
    headers = {**JSON, "x-api-key": make_key("read")}
    method = "GET" if path == "/info" else "POST"
    assert post(server, path, b"{}", headers, method).status == 403
    assert post(server, path, b"{}", {**JSON, "x-api-key": "lsv2_of_theirs"}, method).status == 401
    if path == "/info":
        return
    wrong = post(server, path, b"{}", {**headers, "x-api-key": make_key("ingest", "a")}, "DELETE")
    assert wrong.status == 405
