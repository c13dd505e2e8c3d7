"""Another protocol is another class: a toy one, of lines `id|session|words`, at its own address.

It is told nothing of keys, room, compression, threads or commits, and has them all.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sessionbat.server import app as app_module
from sessionbat.server.ingest.body import Body, Decode, Decoded, Rejected, inflate
from sessionbat.server.ingest.protocol import Protocol
from sessionbat.server.ingest.results import Stored
from sessionbat.server.records import ReceivedEvent
from sessionbat.server.web.refusal import Refused
from tests.conftest import eventually
from tests.server.wire import Wire, event

TOY = "/toy/v1/lines"


class Lines:
    """The toy."""

    path: Final = TOY
    methods: Final[Sequence[str]] = ("POST",)
    headers: Final[Mapping[str, str]] = {"Accept-Post": "text/x-lines"}

    def decode(self, request: Request) -> Decode:
        if request.headers.get("content-type") != "text/x-lines":
            raise Refused(415, "unknown-content-type", "send text/x-lines", at="Content-Type")
        return decode_lines

    def answer(self, request: Request, stored: Stored) -> Response:
        text = f"{stored.accepted} {stored.duplicates} {len(stored.rejected)}"
        return PlainTextResponse(text, 200)

    def refuse(self, request: Request, refused: Refused) -> Response:
        return PlainTextResponse(f"no: {refused.slug}", refused.status, headers=refused.headers)


def decode_lines(body: Body, *, received_at_us: int) -> Decoded:
    text = inflate(body.data, body.encoding, 10_000)
    decoded = Decoded([], [], len(text), 0, False)
    for number, line in enumerate(text.decode().splitlines()):
        if line == "defect":
            raise ZeroDivisionError("defect")
        if line.count("|") != 2:
            at = f"lines[{number}]"
            decoded.rejected.append(Rejected(None, "bad-event", at, "two bars a line"))
            continue
        id_, session_id, words = line.split("|")
        made = event(id_, session_id=session_id, observation__input={"prompt": words})
        made["app"] = body.app or "support-bot"
        decoded.events.append(ReceivedEvent(orjson.dumps(made), made, received_at_us))
    return decoded


@pytest.fixture
def serve(
    monkeypatch: pytest.MonkeyPatch, start_server: Callable[..., Wire]
) -> Callable[..., Wire]:
    """Start servers that know the toy beside the protocol of the SDK."""
    those = app_module.protocols

    def both(settings: Any) -> list[Protocol]:
        return [*those(settings), Lines()]

    monkeypatch.setattr(app_module, "protocols", both)
    return start_server


def send(server: Wire, text: str | bytes, **headers: str) -> tuple[int, str]:
    data = text.encode() if isinstance(text, str) else text
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = server.request("POST", TOY, data, {"Content-Type": "text/x-lines", **named})
    assert answer.headers["accept-post"] == "text/x-lines"
    return answer.status, answer.body.decode()


def test_events_of_another_protocol_are_stored_and_shown_like_any(
    serve: Callable[..., Wire],
) -> None:
    server = serve()
    assert send(server, "a|thread_1|I am locked out\nb|thread_1|again") == (200, "2 0 0")
    assert server.send(event("c")).json["accepted"] == 1
    assert [each["id"] for each in server.stored()] == ["a", "b", "c"]
    (session,) = server.get("/sessions.json").json["items"]
    assert session["title"] == "I am locked out"


def test_it_says_what_was_there_and_what_was_rejected(serve: Callable[..., Wire]) -> None:
    server = serve()
    assert send(server, "a|s|x") == (200, "1 0 0")
    assert send(server, "a|s|x\nnothing\nb|s|y") == (200, "1 1 1")


def test_it_may_be_compressed_without_knowing_it(serve: Callable[..., Wire]) -> None:
    server = serve()
    assert send(server, gzip.compress(b"a|s|x"), Content_Encoding="gzip") == (200, "1 0 0")
    assert send(server, b"x", Content_Encoding="gzip") == (400, "no: bad-encoding")
    assert send(server, b"x", Content_Encoding="br") == (415, "no: unknown-encoding")
    assert send(server, gzip.compress(b"x" * 20_000), Content_Encoding="gzip") == (
        413,
        "no: body-too-large",
    )


def test_it_refuses_in_a_form_of_its_own(serve: Callable[..., Wire]) -> None:
    server = serve(max_body_bytes=100)
    assert send(server, "x", Content_Type="application/json") == (415, "no: unknown-content-type")
    assert send(server, "x" * 200) == (413, "no: body-too-large")
    for method in ("GET", "PUT", "DELETE"):
        answer = server.request(method, TOY)
        assert (answer.status, answer.body) == (405, b"no: method-not-allowed")
        assert (answer.headers["accept-post"], answer.headers["allow"]) == ("text/x-lines", "POST")


def test_a_defect_of_it_fails_its_request_alone(serve: Callable[..., Wire]) -> None:
    server = serve()
    assert send(server, "defect") == (500, "no: internal-error")
    assert send(server, "a|s|x") == (200, "1 0 0")


def test_it_needs_an_ingest_key_and_is_told_its_app(
    serve: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    server = serve()
    writer = server.with_key(make_key("ingest", "other"))
    assert send(writer, "a|s|x") == (200, "1 0 0")
    admin = server.with_key(make_key("admin"))
    assert [each["app"] for each in admin.stored("s", "other")] == ["other"]
    for holder, status in ((server, 401), (server.with_key(make_key("read", "other")), 403)):
        refused = holder.request("POST", TOY, b"b|s|x", {"Content-Type": "text/x-lines"})
        assert refused.status == status
        assert refused.headers["accept-post"] == "text/x-lines"
    assert "/login" not in server.get(TOY).headers.get("location", "")


def test_both_protocols_share_one_room_and_one_count(serve: Callable[..., Wire]) -> None:
    server = serve(max_waiting_requests=1)
    body = b"a|s|x"
    held = f"POST {TOY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/x-lines\r\n"
    held += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(held.encode() + body[:2])

        def is_busy() -> bool:
            return server.send(event("e")).status == 503

        eventually(is_busy)
        assert server.send(event("e")).slug == "busy"
        connection.sendall(body[2:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    eventually(lambda: server.send(event("f")).status == 202)
    metrics = server.get("/metrics").body.decode()
    assert 'sessionbat_bodies_refused_total{slug="busy"}' in metrics


def test_bodies_of_both_arrive_at_once_and_none_is_taken_for_the_other(
    serve: Callable[..., Wire],
) -> None:
    server = serve()
    gate = threading.Barrier(8)

    def work(n: int) -> None:
        gate.wait(20)
        for k in range(5):
            if n % 2:
                assert send(server, f"t{n}-{k}|s|x") == (200, "1 0 0")
            else:
                assert server.send(event(f"j{n}-{k}", session_id="s")).json["accepted"] == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(server.stored("s")) == 40
