"""Bad input at LangSmith's and Langfuse's addresses: a clear answer, neighbours kept, bounded."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from sessionbat._otel.langsmith_runs import MAX_EVENTS
from sessionbat.server.ingest.switching import recent_apps
from sessionbat.server.ingest.switching.langsmith_decoding import PARTS_OF_A_RUN
from sessionbat.server.ingest.switching.multipart import (
    MAX_BOUNDARY_CHARACTERS,
    MAX_HEAD_BYTES,
    boundary_of,
    form_parts,
)
from sessionbat.server.ingest.switching.recent_apps import RecentApps
from sessionbat.server.web.refusal import Refused
from tests.otel.test_langsmith import OWN, ROOT, beginning, run
from tests.server.ingest.switching.test_langsmith_protocol import (
    BOUNDARY,
    FORM,
    JSON,
    form,
    in_parts,
    only,
    post,
    wanted,
)
from tests.server.wire import Wire

MANY = 50_000_000


def sessions(server: Wire) -> list[str]:
    return [each["session_id"] for each in server.get("/api/v1/sessions").json["items"]]


def streamed(data: bytes) -> bytes:
    """Compress without saying how long it is, as the SDK does."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


BOMBS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zstd": ("zstd", zstandard.compress),
    "zstd, streamed": ("zstd", streamed),
    "gzip": ("gzip", gzip.compress),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize(
    "path",
    [
        *("/runs/multipart", "/runs/batch", "/runs", "/feedback", "/api/public/ingestion"),
        *("/api/public/scores", "/api/public/otel/v1/traces"),
    ],
)
def test_a_bomb_is_refused_before_it_is_inflated(
    standing_server: Wire, path: str, bomb: str
) -> None:
    encoding, pack = BOMBS[bomb]
    kind = FORM if path == "/runs/multipart" else JSON
    headers = {**kind, "Content-Encoding": encoding, "x-pre-compressed-size": "10"}
    answer = post(standing_server, path, pack(b"\0" * MANY), headers)
    assert answer.status == 413
    if "otel" not in path:
        assert answer.slug == "body-too-large"


def test_hundreds_of_thousands_of_parts_are_refused_within_seconds(standing_server: Wire) -> None:
    body = b"--x\r\n\r\n\r\n" * (50_000 * PARTS_OF_A_RUN + 1)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    started = time.perf_counter()
    answer = post(standing_server, "/runs/multipart", body, headers)
    assert (answer.status, answer.slug) == (413, "too-many-events")
    assert time.perf_counter() - started < 15


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_form_of_as_many_parts_as_may_be_is_taken(beyond: int) -> None:
    body = form(*((f"post.{n}", {}) for n in range(40 + beyond)))
    try:
        count = len([*form_parts(body, BOUNDARY.encode(), 40)])
    except Refused as refused:
        assert (beyond, refused.slug) == (1, "too-many-events")
    else:
        assert (beyond, count) == (0, 40)


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_head_of_a_part_is_read_so_far(beyond: int) -> None:
    begins = b'\r\nContent-Disposition: form-data; name="post.x"; more="'
    head = begins + b"a" * (MAX_HEAD_BYTES - len(begins) - 5 + beyond) + b'"'
    assert len(head) + 4 == MAX_HEAD_BYTES + beyond
    (part,) = form_parts(b"--b" + head + b"\r\n\r\n{}\r\n--b--", b"b", 9)
    assert part.name == ("" if beyond else "post.x")


@pytest.mark.parametrize("length", [0, 1, MAX_BOUNDARY_CHARACTERS, MAX_BOUNDARY_CHARACTERS + 1])
def test_a_boundary_is_so_long_and_no_longer(length: int) -> None:
    content_type = f"multipart/form-data; boundary={'b' * length}"
    if 0 < length <= MAX_BOUNDARY_CHARACTERS:
        assert boundary_of(content_type) == b"b" * length
    else:
        with pytest.raises(Refused):
            boundary_of(content_type)


def test_every_cut_of_a_form_keeps_the_runs_before_it(server: Wire) -> None:
    first = form(*in_parts("post", run(id="r1")), is_whole=False)
    body = first + form(*in_parts("post", run(id="r2")))
    for length in range(1, len(body) + 1, 41):
        answer = post(server, "/runs/multipart", body[:length], FORM)
        is_begun = length >= len(BOUNDARY) + 2
        assert answer.status == (202 if is_begun else 400), length
        if length >= len(first) + len(BOUNDARY) + 2:
            assert all("r1" not in each["at"] for each in answer.json["rejected"])
    assert len(server.stored("thread_42")) == 2


@pytest.mark.parametrize("path", ["/runs/multipart", "/runs/batch"])
def test_commas_in_a_text_are_no_values(server: Wire, path: str) -> None:
    asked = {"messages": [{"role": "user", "content": "a,[" * 600_000}]}
    given = run(inputs=asked)
    body = form(*in_parts("post", given)) if "multipart" in path else {"post": [given]}
    answer = post(server, path, body, FORM if "multipart" in path else JSON)
    assert (answer.status, answer.json["rejected"]) == (202, [])
    assert only(server)["id"]


def test_very_many_values_of_one_run_are_rejected_and_of_all_refused(server: Wire) -> None:
    large = [(f"post.{n}", b"[" + b"1," * 249_000 + b"1]") for n in range(5)]
    assert post(server, "/runs/multipart", form(*large), FORM).slug == "too-many-values"
    larger = ("post.x.inputs", b"[" + b"1," * 260_000 + b"1]")
    answer = post(server, "/runs/multipart", form(larger, *in_parts("post", run())), FORM)
    assert [each["slug"] for each in answer.json["rejected"]] == ["too-many-values"]
    assert only(server)["id"]


@pytest.mark.parametrize("levels", [100, 900, 5_000])
def test_a_run_that_is_nested_deep_is_cut_or_rejected(server: Wire, levels: int) -> None:
    deep = b'{"messages": ' + b"[" * levels + b"]" * levels + b"}"
    parts = [*in_parts("post", run(id="deep")), ("post.deep.inputs", deep)]
    answer = post(server, "/runs/multipart", form(*parts, *in_parts("post", run())), FORM)
    assert answer.status == 202
    assert len(server.stored("thread_42")) == 2


ODD_IDS = ["1", "a.b", "a.b.c", "café", "ü" * 900, "../../x", "run one", "0" * 32, OWN.upper()]


@pytest.mark.parametrize("id_", ODD_IDS)
def test_a_run_whose_id_is_no_uuid_is_the_same_run_in_every_form(server: Wire, id_: str) -> None:
    given = run(id=id_, trace_id=id_, parent_run_id=None, dotted_order=None)
    (own_name, own), *others = in_parts("post", given)
    parts = [(own_name, {key: value for key, value in own.items() if key != "id"}), *others]
    answer = post(server, "/runs/multipart", form(*parts), FORM)
    assert (answer.status, answer.json["rejected"]) == (202, [])
    assert [only(server)] == wanted(given)
    assert post(server, "/runs/batch", {"post": [given]}).status == 202
    assert [only(server)] == wanted(given)


@pytest.mark.parametrize("id_", [None, "", [], {"a": 1}, [1], {}])
def test_a_run_whose_id_is_no_text_is_named_and_its_neighbours_kept(server: Wire, id_: Any) -> None:
    answer = post(server, "/runs/batch", {"post": [run(id=id_), run()]})
    assert answer.status == 202
    assert [(each["at"], each["slug"]) for each in answer.json["rejected"]] == [
        ("post[0]", "bad-event")
    ]
    assert only(server)["id"]


def test_runs_that_never_end_are_stored_once_each(server: Wire) -> None:
    runs = [beginning(id=f"r{n}", name=f"call {n}") for n in range(300)]
    for _ in range(2):
        assert post(server, "/runs/batch", {"post": runs}).status == 202
    found = server.stored("thread_42")
    assert len(found) == 300
    assert {each["observation"]["metadata"]["status"] for each in found} == {"unfinished"}


@pytest.mark.parametrize("beyond", [0, 1])
def test_of_a_run_so_many_happenings_are_looked_at(server: Wire, beyond: int) -> None:
    token = {"name": "new_token", "time": "2026-11-28T18:20:37.500000+00:00"}
    events = [{"name": "x", "time": token["time"]}] * (MAX_EVENTS - 1 + beyond) + [token]
    post(server, "/runs", run(events=events))
    has_first_token = "time_to_first_token_ms" in only(server)["observation"]["metrics"]
    assert has_first_token is not bool(beyond)


UNKNOWN = {
    "/feedback": {"id": "f1", "run_id": OWN, "trace_id": ROOT, "key": "thumbs", "score": 1},
    "/api/public/scores": {"id": "f1", "traceId": "nowhere", "name": "thumbs", "value": 1},
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_feedback_on_what_never_came_is_kept_and_said_once(server: Wire, path: str) -> None:
    for _ in range(2):
        assert post(server, path, UNKNOWN[path]).status in (200, 202)
    (item,) = server.get("/api/v1/sessions").json["items"]
    (event,) = server.stored(item["session_id"], item["app"])
    assert (event["type"], event["feedback"]["score"]) == ("feedback", 1)
    assert event["feedback"]["observation_id"] is None


def test_the_app_of_so_many_traces_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_apps, "MAX_TRACES", 3)
    apps = RecentApps()
    for n in range(4):
        apps.note((f"t{n}",), f"app {n}")
    assert [apps.find(f"t{n}") for n in range(4)] == [None, "app 1", "app 2", "app 3"]


def test_a_score_that_is_rejected_is_named_by_its_place(server: Wire) -> None:
    good = {"sessionId": "thread_42", "name": "q", "value": 1}
    answer = post(server, "/api/public/scores", [good, {"value": 1}, good, 7, json.dumps(good)])
    assert [each["index"] for each in answer.json["errors"]] == [1, 3, 4]
    assert sessions(server) == ["thread_42"]
