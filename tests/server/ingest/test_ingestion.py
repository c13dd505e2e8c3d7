"""The ingestion endpoint over real HTTP: forms, answers, limits, and what one bad event does."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import zstandard
from starlette.requests import Request
from starlette.responses import Response

from sessionbat.errors import StoreError
from sessionbat.server.ingest.events import Events
from sessionbat.server.ingest.results import Stored
from sessionbat.server.store.sqlite.store import SqliteStore
from tests.conftest import eventually
from tests.server.wire import PATH, Wire, event, ndjson

CAPABILITIES = {
    "accept-post": "application/json, application/x-ndjson",
    "accept-encoding": "zstd, gzip",
}


def test_a_single_event_is_stored(server: Wire) -> None:
    answer = server.send(event("e1"))
    assert (answer.status, answer.json) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert server.stored() == [event("e1")]


def test_an_array_is_stored_in_its_order(server: Wire) -> None:
    assert server.send([event("b"), event("a")]).json["accepted"] == 2
    assert [stored["id"] for stored in server.stored()] == ["b", "a"]


def test_lines_are_stored_in_their_order(server: Wire) -> None:
    assert server.send_lines(event("b"), event("a")).json["accepted"] == 2
    assert [stored["id"] for stored in server.stored()] == ["b", "a"]


def test_blank_lines_and_carriage_returns_between_lines_mean_nothing(server: Wire) -> None:
    body = b"\r\n\n" + json.dumps(event("e1")).encode() + b"\r\n  \n"
    answer = server.send(body, "application/x-ndjson")
    assert answer.json == {"accepted": 1, "duplicates": 0, "rejected": []}


def test_an_empty_array_stores_nothing_and_is_no_error(standing_server: Wire) -> None:
    answer = standing_server.send([])
    assert (answer.status, answer.json["accepted"]) == (202, 0)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_content_type_may_have_parameters_and_any_case(server: Wire, content_type: str) -> None:
    assert server.send(event(), content_type).status == 202


def test_gzip_is_inflated(server: Wire) -> None:
    assert server.send(gzip.compress(ndjson(event())), "application/x-ndjson", "gzip").status == 202
    assert server.stored() == [event()]


@pytest.mark.parametrize("with_content_size", [True, False])
def test_zstd_is_inflated(server: Wire, with_content_size: bool) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=with_content_size)
    body = compressor.compress(ndjson(*(event(f"e{n}") for n in range(3_000))))
    answer = server.send(body, "application/x-ndjson", "zstd")
    assert answer.json["accepted"] == 3_000


def test_an_event_sent_again_is_a_duplicate(server: Wire) -> None:
    server.send(event("e1"))
    answer = server.send(event("e1"))
    assert (answer.status, answer.json) == (202, {"accepted": 0, "duplicates": 1, "rejected": []})
    assert len(server.stored()) == 1


def test_an_event_twice_in_one_body_is_stored_once(server: Wire) -> None:
    answer = server.send_lines(event("e1"), event("e1"))
    assert answer.json == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert len(server.stored()) == 1


def test_the_same_id_in_two_apps_is_two_events(server: Wire) -> None:
    answer = server.send([event("e1", app="one"), event("e1", app="two")])
    assert answer.json["accepted"] == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_told_to_post(standing_server: Wire, method: str) -> None:
    answer = standing_server.request(method, PATH)
    assert (answer.status, answer.slug, answer.headers["allow"]) == (
        405,
        "method-not-allowed",
        "POST",
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{}", "application/json"), (b"[]", "application/json"), (b"", "text/plain"), (b"{", None)],
)
def test_every_answer_says_what_the_endpoint_takes(
    standing_server: Wire, body: bytes, content_type: str | None
) -> None:
    answer = standing_server.send(body, content_type)
    assert {name: answer.headers.get(name) for name in CAPABILITIES} == CAPABILITIES


def test_the_answer_to_another_method_says_what_the_endpoint_takes(standing_server: Wire) -> None:
    answer = standing_server.request("GET", PATH)
    assert {name: answer.headers.get(name) for name in CAPABILITIES} == CAPABILITIES


def test_the_answer_at_the_door_says_what_the_endpoint_takes(standing_server: Wire) -> None:
    answer = standing_server.request("POST", PATH, b"{}", {"Host": "evil.example"})
    assert answer.status == 421
    assert {name: answer.headers.get(name) for name in CAPABILITIES} == CAPABILITIES


def test_the_answer_of_a_full_queue_says_what_the_endpoint_takes(
    start_server: Callable[..., Wire],
) -> None:
    answer = start_server(max_waiting_requests=0).send(event())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert {name: answer.headers.get(name) for name in CAPABILITIES} == CAPABILITIES


# One bad event


def test_a_bad_single_event_is_refused_with_its_place(standing_server: Wire) -> None:
    answer = standing_server.send(event("e1", session_id=None))
    assert answer.status == 422
    assert answer.json == {
        "error": {
            "slug": "bad-event",
            "at": "events[0].session_id",
            "message": "missing; every event has session_id",
        }
    }


@pytest.mark.parametrize("send", [Wire.send, lambda server, events: server.send_lines(*events)])
def test_a_bad_event_in_a_batch_is_listed_and_its_neighbours_stored(
    server: Wire, send: Callable[[Wire, list[object]], object]
) -> None:
    answer = send(server, [event("e0"), event("e1", session_id=7), event("e2")])
    assert (answer.status, answer.json["accepted"]) == (202, 2)
    (rejected,) = answer.json["rejected"]
    assert (rejected["id"], rejected["slug"], rejected["at"]) == (
        "e1",
        "bad-event",
        "events[1].session_id",
    )
    assert [stored["id"] for stored in server.stored()] == ["e0", "e2"]


def test_a_line_that_is_not_json_is_listed_and_its_neighbours_stored(server: Wire) -> None:
    body = ndjson(event("e0")) + b'{"id": "cut' + b"\n" + ndjson(event("e2"))
    answer = server.send(body, "application/x-ndjson")
    (rejected,) = answer.json["rejected"]
    assert (rejected["id"], rejected["slug"], rejected["at"]) == (None, "not-json", "events[1]")
    assert [stored["id"] for stored in server.stored()] == ["e0", "e2"]


def test_an_element_that_no_strict_parser_reads_is_listed_alone(server: Wire) -> None:
    lone = json.dumps(event("e1", session_id="\ud800")).encode()
    body = b"[" + b",".join([json.dumps(event("e0")).encode(), lone]) + b"]"
    answer = server.send(body)
    assert (answer.status, answer.json["accepted"]) == (202, 1)
    assert [rejected["slug"] for rejected in answer.json["rejected"]] == ["not-json"]


def test_an_event_nested_too_deep_is_rejected_alone(server: Wire) -> None:
    deep = json.dumps(event("e1", observation__input=0)).replace(
        '"input": 0', '"input": ' + "[" * 250 + "]" * 250
    )
    answer = server.send(ndjson(event("e0")) + deep.encode(), "application/x-ndjson")
    (rejected,) = answer.json["rejected"]
    assert (rejected["id"], rejected["slug"], answer.json["accepted"]) == ("e1", "too-deep", 1)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_absurd_nesting_harms_nobody(server: Wire, opening: str) -> None:
    body = (opening * 1_000_000).encode() + b"\n" + ndjson(event("e1"))
    answer = server.send(body, "application/x-ndjson")
    assert (answer.status, answer.json["accepted"]) == (202, 1)


def test_a_rejected_id_is_repeated_only_when_it_could_be_one(standing_server: Wire) -> None:
    answer = standing_server.send([event("x" * 10_000)])
    assert answer.json["rejected"][0]["id"] is None


# Without loss


def test_events_are_read_back_byte_for_byte(server: Wire) -> None:
    raw = (
        b'{"observation":  {"kind":"llm", "metrics": {"big": 123456789012345678901234567890, '
        b'"small": 1.10, "e": 1E2}}, "z": "\\u00e9\\u0000\\/", "z": 2,'
        b' "id":"e1","type":"llm","app":"a","session_id":"s"}'
    )
    server.send(b"[ " + raw + b" ,\n" + raw.replace(b"e1", b"e2") + b"]")
    answer = server.get("/api/v1/events", app="a", session_id="s")
    assert raw + b"," + raw.replace(b"e1", b"e2") in answer.body


@pytest.mark.parametrize("name", ["nul\0nul", "ünïcödé 🦇", "a/b?c=d&e#f", "x" * 1024])
def test_any_text_names_an_app_and_a_session(server: Wire, name: str) -> None:
    server.send(event("e1", app=name, session_id=name))
    session = server.get("/api/v1/session", app=name, session_id=name).json
    assert (session["app"], session["session_id"]) == (name, name)


def test_a_session_id_that_starts_alike_up_to_a_nul_is_another_session(server: Wire) -> None:
    server.send([event("e1", session_id="s\0one"), event("e2", session_id="s\0two")])
    assert [stored["id"] for stored in server.stored("s\0one")] == ["e1"]


def test_figures_out_of_all_bounds_do_not_harm_the_sums(server: Wire) -> None:
    absurd = (10**18, 2**64 - 1, -5, True, "7", 10**300, None)
    for n, tokens in enumerate(absurd):
        metrics = {"input_tokens": tokens, "latency_ms": tokens, "cost_usd": tokens}
        assert server.send(event(f"e{n}", observation__metrics=metrics)).json["accepted"] == 1
    server.send(event("sane", observation__metrics={"input_tokens": 5, "output_tokens": 2.0}))
    session = server.get("/api/v1/session", app="support-bot", session_id="thread_1").json
    assert (session["observations"], session["input_tokens"], session["output_tokens"]) == (8, 5, 2)


# Bodies that cannot be read


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a": NaN}',
        b"[{}",
        b"[{}] {}",
        b"[{},,{}]",
        b'["unfinished]',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_not_json_is_refused(standing_server: Wire, body: bytes) -> None:
    answer = standing_server.send(body)
    assert (answer.status, answer.slug) == (400, "not-json")


def test_json_that_is_no_object_is_no_event(standing_server: Wire) -> None:
    answer = standing_server.send(b'"text"')
    assert (answer.status, answer.slug, answer.json["error"]["at"]) == (
        422,
        "bad-event",
        "events[0]",
    )


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_an_unknown_content_type_is_refused(
    standing_server: Wire, content_type: str | None
) -> None:
    answer = standing_server.send(event(), content_type)
    assert (answer.status, answer.slug) == (415, "unknown-content-type")


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate"])
def test_an_unknown_encoding_is_refused(standing_server: Wire, encoding: str) -> None:
    answer = standing_server.send(event(), encoding=encoding)
    assert (answer.status, answer.slug) == (415, "unknown-encoding")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: d + d, lambda d: b"x" + d])
def test_a_damaged_stream_is_refused_whole(
    server: Wire, encoding: str, damage: Callable[[bytes], bytes]
) -> None:
    compress = {"gzip": gzip.compress, "zstd": zstandard.compress}[encoding]
    body = damage(compress(ndjson(*(event(f"e{n}") for n in range(50)))))
    answer = server.send(body, "application/x-ndjson", encoding)
    assert (answer.status, answer.slug) == (400, "bad-encoding")
    assert server.stored() == []


# Limits


def test_a_body_over_the_limit_is_refused_naming_the_limit(
    start_server: Callable[..., Wire],
) -> None:
    server = start_server(max_body_bytes=2_000)
    answer = server.send(event(observation__input="x" * 2_000))
    assert (answer.status, answer.slug) == (413, "body-too-large")
    assert "2000 bytes" in answer.json["error"]["message"]


def test_a_body_of_exactly_the_limit_is_taken(start_server: Callable[..., Wire]) -> None:
    body = json.dumps(event()).encode()
    assert start_server(max_body_bytes=len(body)).send(body).status == 202


def test_a_chunked_body_is_refused_as_soon_as_it_passes_the_limit(
    start_server: Callable[..., Wire],
) -> None:
    server = start_server(max_body_bytes=2_000)
    with socket.create_connection(server.address, timeout=20) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall((b"1f4\r\n" + b"x" * 500 + b"\r\n") * 5)  # and no end
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 413


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_zip_bomb_is_refused(standing_server: Wire, encoding: str) -> None:
    zeros = b"\0" * (64 * 1024 * 1024)
    bomb = {"gzip": gzip.compress, "zstd": zstandard.compress}[encoding](zeros)
    answer = standing_server.send(bomb, "application/x-ndjson", encoding)
    assert (answer.status, answer.slug) == (413, "body-too-large")


def test_too_many_events_in_one_body_are_refused(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_body_events=3)
    assert server.send([{}] * 4).slug == "too-many-events"
    assert server.send_lines(*[{}] * 4).slug == "too-many-events"


def test_a_body_that_comes_too_slowly_is_given_up(start_server: Callable[..., Wire]) -> None:
    server = start_server(body_timeout=0.2)
    with socket.create_connection(server.address, timeout=20) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 408


# Waiting


class _Gate:
    """Holds every append until it is opened; what passes goes to the real store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        append = SqliteStore.append

        def gated(store: SqliteStore, events: object) -> list[bool]:
            self.entered.set()
            assert self.opened.wait(20)
            return append(store, events)

        monkeypatch.setattr(SqliteStore, "append", gated)


def _send_in_thread(server: Wire, body: object, answers: list[object]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(server.send(body)))
    thread.start()
    return thread


def test_requests_beyond_what_may_wait_are_told_to_come_again(
    start_server: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, answers = _Gate(monkeypatch), []
    server = start_server(max_waiting_requests=1)
    thread = _send_in_thread(server, event("first"), answers)
    assert gate.entered.wait(20)
    answer = server.send(event("second"))
    gate.opened.set()
    thread.join(20)
    assert (answer.status, answer.slug, answer.headers["retry-after"]) == (503, "busy", "1")
    assert [stored["id"] for stored in server.stored()] == ["first"]


def test_a_request_leaves_room_for_the_next_one(start_server: Callable[..., Wire]) -> None:
    server = start_server(max_waiting_requests=1)
    assert [server.send(body).status for body in (event("e1"), {}, event("e2"))] == [202, 422, 202]


def test_bytes_beyond_what_may_wait_are_told_to_come_again(
    start_server: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, answers = _Gate(monkeypatch), []
    server = start_server(max_waiting_bytes=3_000)
    thread = _send_in_thread(server, event("first", observation__input="x" * 2_000), answers)
    assert gate.entered.wait(20)
    answer = server.send(event("second", observation__input="x" * 2_000))
    gate.opened.set()
    thread.join(20)
    assert (answer.status, answer.slug) == (503, "busy")
    assert server.send(event("third", observation__input="x" * 2_000)).status == 202


def test_the_answer_comes_after_the_commit(server: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, answers = _Gate(monkeypatch), []
    thread = _send_in_thread(server, event("e1"), answers)
    assert gate.entered.wait(20)
    thread.join(0.2)
    assert answers == []
    gate.opened.set()
    thread.join(20)
    assert answers[0].status == 202


def test_a_store_that_fails_is_told_as_worth_another_try(
    server: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: SqliteStore, events: object) -> list[bool]:
        raise StoreError("the store failed: disk full", slug="store-failed")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "append", fail)
        answer = server.send(event("e1"))
    assert (answer.status, answer.slug) == (503, "store-failed")
    assert answer.headers["retry-after"] == "1"
    assert server.send(event("e1")).json["accepted"] == 1


def test_one_app_leaves_room_to_the_others(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    mine, other = make_key("ingest", "mine"), make_key("ingest", "other")
    server = start_server(max_waiting_requests=4)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {mine}\r\nContent-Length: 1000\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        for _ in range(3):
            slow = stack.enter_context(socket.create_connection(server.address, 20))
            slow.sendall(head + b" ")
        eventually(lambda: server.with_key(mine).send(event(app="mine")).status == 503)
        assert server.with_key(other).send(event(app="other")).status == 202


@pytest.mark.parametrize(
    ("count", "is_on_loop"), [(0, True), (1, True), (100, True), (101, False), (5_000, False)]
)
def test_very_many_reasons_are_written_beside_the_event_loop(
    server: Wire, monkeypatch: pytest.MonkeyPatch, count: int, is_on_loop: bool
) -> None:
    threads: list[str] = []
    answer = Events.answer

    def noting(protocol: Events, request: Request, stored: Stored) -> Response:
        threads.append(threading.current_thread().name)
        return answer(protocol, request, stored)

    monkeypatch.setattr(Events, "answer", noting)
    server.send(event("e1"))  # on the loop
    given = server.send(b"{\n" * count, "application/x-ndjson")
    assert (given.status, len(given.json["rejected"])) == (202, count)
    assert (threads[0] == threads[1]) is is_on_loop
