"""Endpoints that refuse: what is tried again, halved, cut, counted and given up."""

from __future__ import annotations

import logging

import pytest

from sessionbat import SessionBat
from sessionbat.testing import (
    Answer,
    Endpoint,
    Request,
    receipt,
    single_events_only,
)
from tests.conftest import eventually
from tests.delivery.recorded import NewClient, record

pytestmark = pytest.mark.usefixtures("quick_backoff")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(
    endpoint: Endpoint, client: SessionBat, status: int
) -> None:
    failures = iter([Answer(status)] * 3)
    endpoint.behave = lambda request: next(failures, None) or receipt(request)
    ids = record(client, 20)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


def test_retry_after_is_honoured_even_by_a_flush(endpoint: Endpoint, client: SessionBat) -> None:
    answers = iter([Answer(429, {"Retry-After": "1"})])
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    record(client, 1)
    eventually(lambda: endpoint.requests)
    client.flush(timeout=0.2)
    assert client.flush(timeout=5)
    first, second = endpoint.requests
    assert second.at - first.at >= 0.99


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_event_is_counted_and_the_rest_flow(
    endpoint: Endpoint, client: SessionBat, status: int
) -> None:
    def refuse_poison(request: Request) -> Answer:
        return Answer(status) if b"poison" in request.raw else single_events_only(request)

    endpoint.behave = refuse_poison
    record(client, 3)
    record(client, 1, "poison")
    record(client, 3)
    assert not client.flush()
    assert client.stats().dropped == {f"refused:http-{status}": 1}
    assert client.stats().delivered == 6


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_is_halved_until_only_the_bad_event_is_given_up(
    endpoint: Endpoint, client: SessionBat, status: int
) -> None:
    def refuse_poison(request: Request) -> Answer:
        poisoned = any(event["observation"]["input"] == "poison" for event in request.events)
        return Answer(status) if poisoned else receipt(request)

    endpoint.behave = refuse_poison
    good = record(client, 60) + record(client, 60)
    record(client, 1, "poison")
    good += record(client, 60)
    assert not client.flush()
    assert sorted(endpoint.acknowledged) == sorted(good)
    assert client.stats().dropped == {f"refused:http-{status}": 1}


def test_rejected_events_of_an_accepted_batch_are_counted_by_reason(
    endpoint: Endpoint, client: SessionBat
) -> None:
    def reject_two(request: Request) -> Answer:
        bad = [e["id"] for e in request.events if e["observation"]["input"] == "bad"]
        return receipt(request, [{"id": i, "slug": "wrong-app", "at": "app"} for i in bad])

    endpoint.behave = reject_two
    record(client, 5)
    record(client, 2, "bad")
    record(client, 5)
    result = client.flush()
    assert (result.delivered, result.dropped) == (10, 2)
    assert client.stats().dropped == {"refused:wrong-app": 2}


def test_of_two_events_with_one_id_the_rejected_one_is_told_by_its_place(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    def reject_sessions(request: Request) -> Answer:
        rejected = [
            {"id": event["id"], "slug": "bad-event", "at": f"events[{place}].session_id"}
            for place, event in enumerate(request.events)
            if event["session_id"] == "bad"
        ]
        return receipt(request, rejected)

    endpoint.behave = reject_sessions
    good, bad = new_client(), new_client()
    for session_id, client in [("first", good), ("good", good), ("bad", bad), ("better", good)]:
        interaction = client.session(session_id=session_id).interaction()
        interaction.llm(observation_id="step-1", model="m", input="hi")
    good.flush(), bad.flush()
    assert (good.stats().delivered, bad.stats().dropped) == (3, {"refused:bad-event": 1})


@pytest.mark.parametrize("at", ["", "app", "events[9].id", "events[0].id", 7, None])
def test_a_place_that_cannot_be_the_rejected_event_leaves_it_to_the_id(
    endpoint: Endpoint, client: SessionBat, at: object
) -> None:
    def reject_last(request: Request) -> Answer:
        if not request.is_batch:
            return receipt(request)
        return receipt(request, [{"id": request.events[-1]["id"], "slug": "odd", "at": at}])

    endpoint.behave = reject_last
    record(client, 5)
    assert client.flush().dropped == 1
    assert client.stats().dropped == {"refused:odd": 1}


@pytest.mark.parametrize("status", [404, 405, 415])
def test_an_endpoint_that_takes_no_batches_any_more_gets_single_events(
    endpoint: Endpoint, client: SessionBat, status: int
) -> None:
    def changed_its_mind(request: Request) -> Answer:
        return Answer(status) if request.is_batch else receipt(request)

    endpoint.behave = changed_its_mind
    record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: (
        Answer(status) if request.is_batch else single_events_only(request)
    )
    ids = record(client, 30)
    assert client.flush()
    assert sorted(endpoint.acknowledged[1:]) == sorted(ids)
    assert sum(request.is_batch for request in endpoint.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_denied_key_keeps_events_and_says_so_once(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    endpoint.behave = lambda request: Answer(status)
    record(client, 20)
    assert not client.flush(timeout=0.3)
    assert client.stats().spooled == 20
    assert len(endpoint.requests) == 1
    assert [r.levelno for r in caplog.records if "[denied]" in r.message] == [logging.ERROR]


@pytest.mark.parametrize(
    "body", [b"Please log in", b"", b"[]", b'{"accepted": 1}', b'{"accepted":"9"}']
)
def test_a_success_without_a_receipt_is_none_for_a_batch(
    endpoint: Endpoint, client: SessionBat, body: bytes
) -> None:
    answers = iter([Answer(200, {"Content-Type": "text/plain"}, body)] * 2)

    def forgetful(request: Request) -> Answer:
        answer = next(answers, None) if request.is_batch else None
        return answer or receipt(request)

    endpoint.behave = forgetful
    ids = record(client, 30)
    assert client.flush()
    assert sum(request.is_batch for request in endpoint.requests) == 3
    assert set(ids) <= set(endpoint.acknowledged)


def test_an_event_that_is_too_large_is_cut_once_and_visibly(
    endpoint: Endpoint, client: SessionBat
) -> None:
    def small_only(request: Request) -> Answer:
        return Answer(413) if len(request.raw) > 300_000 else single_events_only(request)

    endpoint.behave = small_only
    ids = record(client, 1, "x" * 900_000)
    assert client.flush()
    [event] = endpoint.requests[-1].events
    assert event["id"] == ids[0]
    assert event["observation"]["input"].endswith(" characters]")
    assert event["observation"]["truncated"]["original_bytes"] > 900_000


def test_an_event_that_stays_too_large_is_given_up(endpoint: Endpoint, client: SessionBat) -> None:
    record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: Answer(413)
    record(client, 1, "x" * 900_000)
    assert not client.flush()
    assert client.stats().dropped == {"refused:http-413": 1}
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"slug": "wrong-app", "message": "..."}}', "wrong-app"),
        (b'{"error": {"slug": "\\u001b[2J"}}', "http-422"),
        (b'{"error": {}}', "http-422"),
        (b'{"error": "wrong-app"}', "http-422"),
        (b"<html>", "http-422"),
    ],
)
def test_an_event_refused_alone_is_counted_by_the_endpoints_own_slug(
    endpoint: Endpoint, client: SessionBat, body: bytes, reason: str
) -> None:
    record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: Answer(422, {}, body)
    record(client, 1)
    assert not client.flush()
    assert client.stats().dropped == {f"refused:{reason}": 1}


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_host_is_followed(
    endpoint: Endpoint, client: SessionBat, status: int
) -> None:
    def moved(request: Request) -> Answer:
        if request.path != "/new":
            return Answer(status, {"Location": "/new"})
        return single_events_only(request)

    endpoint.behave = moved
    record(client, 2)
    assert client.flush()
    assert endpoint.requests[-1].path == "/new"


def test_a_redirect_to_another_host_gets_neither_key_nor_events(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    elsewhere = Endpoint(receipt)
    endpoint.behave = lambda request: Answer(307, {"Location": elsewhere.url})
    client = new_client(api_key="sbat_ingest_secret")
    record(client, 2)
    assert not client.flush(timeout=0.3)
    elsewhere.close()
    assert elsewhere.requests == []
