"""Apps of spans, and keys in the headers that exporters have."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.server.ingest.otlp.sending import IN_SESSION, post, sessions, spans
from tests.server.ingest.otlp.wire_format import (
    JSON,
    PROTOBUF,
    chat,
    partial_of,
    protobuf,
    status_of,
)
from tests.server.wire import Wire


def test_without_a_key_the_service_is_the_app(server: Wire) -> None:
    post(server, protobuf([chat(attributes=IN_SESSION)], "shop"))
    post(server, protobuf([chat("00000000000000aa", attributes=IN_SESSION)], ""))
    items = server.get("/api/v1/sessions").json["items"]
    assert {item["app"] for item in items} == {"shop", "unknown_service"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


HEADERS: dict[str, Callable[[str], dict[str, str]]] = {
    "bearer": lambda key: {"Authorization": f"Bearer {key}"},
    "password": lambda key: basic("pk-lf-1", key),
    "user": lambda key: basic(key, ""),
    "both": lambda key: basic(key, key),
    "x-api-key": lambda key: {"x-api-key": key},
    "twice": lambda key: {"Authorization": f"Bearer {key}", "x-api-key": key},
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_key_may_come_in_any_header_that_exporters_have(
    start_server: Callable[..., Wire], make_key: Callable[..., str], header: str
) -> None:
    key, reading = make_key("ingest", "mine"), make_key("read")
    server = start_server()
    assert (
        post(server, protobuf([chat(attributes=IN_SESSION)]), **HEADERS[header](key)).status == 200
    )
    items = server.with_key(reading).get("/api/v1/sessions").json["items"]
    assert [item["app"] for item in items] == ["mine"]
    other = key[:-1] + ("x" if key[-1] != "x" else "y")
    wrong = post(server, protobuf([chat()]), **HEADERS[header](other))
    assert (wrong.status, status_of(wrong.body)[0]) == (401, 16)


@pytest.mark.parametrize("header", ["password", "user", "x-api-key"])
def test_those_headers_open_no_page_and_no_reading(
    start_server: Callable[..., Wire], make_key: Callable[..., str], header: str
) -> None:
    key = make_key("read")
    server = start_server()
    answer = server.request("GET", "/api/v1/sessions", None, HEADERS[header](key))
    assert answer.status == 401


@pytest.mark.parametrize("form", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_a_refusal_at_the_door_is_in_the_form_of_the_request(
    start_server: Callable[..., Wire], make_key: Callable[..., str], form: dict[str, str]
) -> None:
    reading = make_key("read")
    server = start_server()
    for headers, status, code in (({}, 401, 16), (HEADERS["bearer"](reading), 403, 7)):
        answer = post(server, b"", form, **headers)
        found = status_of(answer.body) if form == PROTOBUF else (answer.json["code"], "")
        assert (answer.status, found[0]) == (status, code)
        assert answer.headers["content-type"] == form["Content-Type"]


def test_an_event_of_another_app_is_rejected_and_its_neighbours_kept(
    start_server: Callable[..., Wire], make_key: Callable[..., str]
) -> None:
    key, reading = make_key("ingest", "mine"), make_key("read")
    server = start_server()
    other = chat("00000000000000aa", attributes={"sessionbat.app": "theirs", **IN_SESSION})
    answer = post(
        server, protobuf([*spans(2, attributes=IN_SESSION), other]), **HEADERS["bearer"](key)
    )
    assert partial_of(answer.body)[0] == 1 and "wrong-app" in partial_of(answer.body)[1]
    assert sessions(server.with_key(reading)) == {"thread_42": 2}
