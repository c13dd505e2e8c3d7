"""An address that is no ingestion endpoint: nothing is given up, and it is said once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import delivering
from sessionbat._delivery.delivering import MAX_DOUBTS
from sessionbat.testing import Answer, Endpoint, Request, receipt, single_events_only
from tests.conftest import eventually
from tests.faults.conftest import Record

NewClient = Callable[..., SessionBat]

PAGE = b"<!doctype html><title>Welcome</title>"
NGINX_400 = b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></html>"


@pytest.fixture
def quick_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "DENIED_RETRY_S", 0.05)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "sessionbat"]


def assert_kept(client: SessionBat, count: int) -> None:
    result = client.flush(timeout=0.5)
    assert (result.pending + result.spooled, result.delivered) == (count, 0)
    assert client.stats().dropped == {}


@pytest.mark.parametrize(
    "status",
    [301, 302, 303, 402, 404, 405, 406, 409, 410, 411, 414, 415, 417, 418, 421, 426, 428, 431, 451],
)
def test_a_status_that_is_no_verdict_on_an_event(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    endpoint.behave = lambda request: Answer(status, {"Server": "nginx/1.26.3"})
    record(client, 20)
    eventually(lambda: told(caplog))
    assert_kept(client, 20)
    assert len(endpoint.requests) == 1
    [line] = told(caplog)
    assert [r.levelno for r in caplog.records if r.name == "sessionbat"] == [logging.ERROR]
    for part in (
        f"127.0.0.1:{endpoint.port} answered HTTP {status} (nginx/1.26.3)",
        "https://host/api/v1/ingestion/events",
        "[wrong-address]",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html"}, PAGE),
        ({"Content-Type": "Text/HTML; charset=utf-8"}, b"Please log in"),
        ({"Content-Type": "application/xhtml+xml"}, b"Please log in"),
        ({}, PAGE),
        ({"Content-Type": "application/json"}, b"\xef\xbb\xbf \r\n<html>"),
        ({"Content-Type": "text/plain"}, b"<?xml version='1.0'?><blocked/>"),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_success_that_is_a_web_page_is_none(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
    headers: dict[str, str],
    body: bytes,
) -> None:
    endpoint.behave = lambda request: Answer(status, headers, body)
    record(client, 20)
    eventually(lambda: told(caplog))
    assert_kept(client, 20)
    [line] = told(caplog)
    assert f"HTTP {status} with a web page" in line
    assert "[wrong-address]" in line
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Content-Type": "text/html"}, b""),
        ({"Content-Type": "text/html"}, b"{}"),
        ({"Content-Type": "text/html"}, b"[]"),
        ({"Content-Type": "application/json"}, b'{"ok": "<html>"}'),
        ({"Content-Type": "text/plain"}, b"ok"),
    ],
)
def test_a_success_that_is_no_page_is_one(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    headers: dict[str, str],
    body: bytes,
) -> None:
    endpoint.behave = lambda request: Answer(200, headers, body)
    record(client, 20)
    assert client.flush(10)


@pytest.mark.usefixtures("quick_minute")
def test_everything_arrives_once_the_address_is_put_right(
    endpoint: Endpoint, client: SessionBat, record: Record
) -> None:
    answers = iter([Answer(405), Answer(200, {}, PAGE), Answer(400, {}, NGINX_400), Answer(410)])
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    ids = record(client, 30)
    assert client.flush(10)
    assert set(endpoint.acknowledged) == set(ids)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_by_an_endpoint_that_never_accepted_an_event_drops_nothing(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    endpoint.behave = lambda request: Answer(status, {"Server": "nginx"}, NGINX_400)
    record(client, 20)
    eventually(lambda: told(caplog))
    assert_kept(client, 20)
    [line] = told(caplog)
    assert f"HTTP {status} (nginx)" in line
    assert "[wrong-address]" in line
    # Others were tried, each once: one that is taken would have shown that the address is right.
    tried = [request.ids[0] for request in endpoint.requests]
    assert len(tried) == MAX_DOUBTS
    assert status == 413 or len(set(tried)) == MAX_DOUBTS


def poison_refused(request: Request) -> Answer:
    return Answer(400) if b"poison" in request.raw else single_events_only(request)


@pytest.mark.parametrize("bad", [1, MAX_DOUBTS - 1])
def test_bad_events_that_come_first_hold_up_nothing(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    bad: int,
) -> None:
    endpoint.behave = poison_refused
    record(client, bad, "poison")
    good = record(client, 20)
    result = client.flush(10)
    assert (result.delivered, result.dropped) == (20, bad)
    assert client.stats().dropped == {"refused:http-400": bad}
    assert sorted(endpoint.acknowledged) == sorted(good)
    assert "[wrong-address]" not in caplog.text


@pytest.mark.usefixtures("quick_minute")
def test_more_bad_events_than_are_tried_in_a_minute_hold_up_the_good_ones_for_minutes_only(
    endpoint: Endpoint, client: SessionBat, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.behave = poison_refused
    record(client, 3 * MAX_DOUBTS, "poison")
    good = record(client, 20)
    result = client.flush(20)
    assert (result.delivered, result.dropped) == (20, 3 * MAX_DOUBTS)
    assert sorted(endpoint.acknowledged) == sorted(good)
    assert caplog.text.count("[wrong-address]") == 1


def test_a_bad_event_alone_is_given_up_as_soon_as_another_one_is_taken(
    endpoint: Endpoint, client: SessionBat, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.behave = poison_refused
    record(client, 1, "poison")
    eventually(lambda: told(caplog))
    record(client, 1)
    result = client.flush(10)  # far less than the minute after which it is tried again
    assert (result.delivered, result.dropped) == (1, 1)


def test_an_event_refused_with_a_slug_is_given_up_also_when_it_comes_first(
    endpoint: Endpoint, client: SessionBat, record: Record
) -> None:
    endpoint.behave = lambda request: Answer(422, {}, b'{"error": {"slug": "bad-event"}}')
    record(client, 3)
    assert client.flush(10).dropped == 3
    assert client.stats().dropped == {"refused:bad-event": 3}


def test_a_doubted_event_is_cut_only_on_its_way(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivering, "DENIED_RETRY_S", 0.05)
    answers = iter([Answer(413)] * 4)
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    record(client, 1, "x" * 700_000)
    assert client.flush(10)
    assert "truncated" not in endpoint.requests[-1].events[0]["observation"]


@pytest.mark.usefixtures("quick_minute")
@pytest.mark.parametrize("status", [409, 415, 431])
def test_an_odd_event_of_an_endpoint_that_takes_others_is_kept_and_holds_up_nothing(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    endpoint.behave = lambda request: (
        Answer(status) if b"odd" in request.raw else single_events_only(request)
    )
    good = record(client, 3)
    record(client, 1, "odd")
    good += record(client, 3)
    eventually(lambda: sorted(endpoint.acknowledged) == sorted(good))
    good += record(client, 30)
    eventually(lambda: client.stats().delivered == 36)
    assert sorted(endpoint.acknowledged) == sorted(good)
    assert client.stats().dropped == {}
    assert caplog.text.count("[wrong-address]") == 1


@pytest.mark.parametrize(
    "server",
    ["x\x1b[2Jy", "a" * 41, "sbat_ingest_key", "naïve", "a\tb", '"><script>', "%s%s%n", "[x]"],
)
def test_the_text_of_a_hostile_answer_is_not_logged(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    server: str,
) -> None:
    def hostile(request: Request) -> Answer:
        echoed = request.headers["authorization"].encode() + request.raw
        link = "</a\x1b[2J>; rel=https://sessionbat.com/rel/ingestion"
        return Answer(405, {"Server": server, "Link": link}, b"<html>" + echoed)

    endpoint.behave = hostile
    client = new_client(api_key="sbat_ingest_key")
    record(client, 3, "a private prompt")
    [line] = eventually(lambda: told(caplog))
    assert "answered HTTP 405: " in line
    assert line.isprintable()
    assert len(line) < 400
    assert server not in line
    assert "private" not in line


REL = "https://sessionbat.com/rel/ingestion"


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 405, 413, 421])
def test_the_ingestion_path_that_a_server_gives_is_named_and_not_followed(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    link = f'</style.css>; rel=preload, </bat/api/v1/ingestion/events>; rel="{REL}"'
    body = PAGE if status == 200 else b'{"error": {"slug": "odd-slug"}}'
    endpoint.behave = lambda request: Answer(status, {"Link": link}, body)
    client = new_client(endpoint=endpoint.url.replace("/api/", "/app/"), api_key="key")
    record(client, 3)
    [line] = eventually(lambda: told(caplog))
    assert f"http://127.0.0.1:{endpoint.port}/bat/api/v1/ingestion/events" in line
    assert "[wrong-address]" in line
    assert {request.path for request in endpoint.requests} == {"/app/v1/ingestion/events"}
    assert client.stats().dropped == {}


@pytest.mark.parametrize(
    "link",
    [
        f"<https://evil.example/x>; rel={REL}",
        f"<//evil.example/x>; rel={REL}",
        f"</x?a=b>; rel={REL}",
        f"</{'x' * 250}>; rel={REL}",
        f"<x>; rel={REL}",
        "</x>; rel=next",
        "</x>",
        "<" * 1900,
    ],
)
def test_a_hint_that_is_no_path_of_the_same_host_is_ignored(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    link: str,
) -> None:
    endpoint.behave = lambda request: Answer(404, {"Link": link})
    record(client, 1)
    [line] = eventually(lambda: told(caplog))
    assert "https://host/api/v1/ingestion/events" in line
    assert "evil" not in line


def test_a_hint_to_the_very_address_changes_nothing(
    endpoint: Endpoint, client: SessionBat, record: Record
) -> None:
    def take(request: Request) -> Answer:
        answer: Any = receipt(request, [{"id": i, "slug": "bad-event"} for i in request.ids])
        answer.headers["Link"] = f"</api/v1/ingestion/events>; rel={REL}"
        return answer

    endpoint.behave = take
    record(client, 3)
    assert client.flush(10).dropped == 3
