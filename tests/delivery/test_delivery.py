"""What becomes of events, over real sockets: forms, answers, pauses, refusals."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import worker as worker_module
from sessionbat.testing import (
    OFFERS_BATCHES,
    Answer,
    Endpoint,
    Request,
    receipt,
    single_events_only,
    unused_port,
)
from tests.conftest import eventually

NewClient = Callable[..., SessionBat]


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other quickly; how long real waits are is tested in test_retry.py."""
    init = worker_module.Worker.__init__
    monkeypatch.setattr(
        worker_module.Worker,
        "__init__",
        lambda self, destination, options: init(self, destination, options, lambda tries: 0.02),
    )


def record(client: SessionBat, count: int, text: str = "hello") -> list[str]:
    interaction = client.session(session_id="s").interaction()
    return [interaction.llm(model="m", input=text, output=str(n)) for n in range(count)]


def test_an_endpoint_of_single_events_gets_all_and_nothing_else(
    endpoint: Endpoint, client: SessionBat
) -> None:
    endpoint.behave = single_events_only
    ids = record(client, 400)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)
    assert {request.content_type for request in endpoint.requests} == {"application/json"}
    assert len(endpoint.requests) == 400
    assert all("content-encoding" not in request.headers for request in endpoint.requests)


def test_connections_are_kept(endpoint: Endpoint, client: SessionBat) -> None:
    endpoint.behave = single_events_only
    record(client, 400)
    assert client.flush()
    assert endpoint.connections <= 16


def test_a_burst_goes_to_an_endpoint_of_batches_in_few_requests(
    endpoint: Endpoint, client: SessionBat
) -> None:
    ids = record(client, 10_000)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)
    assert len(endpoint.requests) <= 25


def test_the_first_request_is_a_single_event_and_batches_are_compressed(
    endpoint: Endpoint, client: SessionBat
) -> None:
    record(client, 50)
    assert client.flush()
    first, *others = endpoint.requests
    assert (first.content_type, len(first.events)) == ("application/json", 1)
    assert {request.headers["content-encoding"] for request in others} == {"zstd"}


def test_batches_are_gzipped_where_only_that_is_offered(
    endpoint: Endpoint, client: SessionBat
) -> None:
    def gzip_only(request: Request) -> Answer:
        answer = receipt(request)
        answer.headers["Accept-Encoding"] = "gzip;q=1.0, br"
        return answer

    endpoint.behave = gzip_only
    ids = record(client, 50)
    assert client.flush()
    assert endpoint.requests[-1].headers["content-encoding"] == "gzip"
    assert sorted(endpoint.acknowledged) == sorted(ids)


def test_requests_carry_the_key_and_say_who_sends(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    client = new_client(api_key="sbat_ingest_abc")
    record(client, 1)
    assert client.flush()
    headers = endpoint.requests[0].headers
    assert headers["authorization"] == "Bearer sbat_ingest_abc"
    assert headers["user-agent"].startswith("sessionbat-python/")


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


def test_a_broken_connection_is_replaced_and_the_same_ids_are_sent_again(
    endpoint: Endpoint, client: SessionBat
) -> None:
    breaks = iter([Answer(reset=True)] * 3)
    endpoint.behave = lambda request: next(breaks, None) or receipt(request)
    ids = record(client, 20)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


def test_a_connection_that_the_endpoint_closed_meanwhile_costs_no_wait(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture
) -> None:
    def closing(request: Request) -> Answer:
        answer = receipt(request)
        answer.close = True
        return answer

    endpoint.behave = closing
    for _ in range(5):
        record(client, 1)
        assert client.flush()
    assert len(endpoint.acknowledged) == 5
    assert not caplog.records


def test_recording_never_waits_for_an_endpoint_that_does_not_answer(
    endpoint: Endpoint, client: SessionBat
) -> None:
    endpoint.behave = lambda request: Answer(hang=True)
    record(client, 1)
    eventually(lambda: endpoint.requests)
    started = time.perf_counter()
    record(client, 1000)
    assert time.perf_counter() - started < 0.1
    endpoint.behave = receipt
    endpoint.release()
    assert client.flush()


def test_an_endpoint_that_is_down_gets_everything_once_it_is_up(new_client: NewClient) -> None:
    port = unused_port()
    client = new_client(endpoint=f"http://127.0.0.1:{port}")
    ids = record(client, 50)
    assert not client.flush(timeout=0.2)
    assert client.stats().spooled == 50
    late = Endpoint(receipt, port)
    assert client.flush()
    late.close()
    assert sorted(late.acknowledged) == sorted(ids)


@pytest.mark.slow
def test_a_full_queue_drops_the_newest_counts_them_and_warns_once(
    endpoint: Endpoint, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.behave = lambda request: Answer(hang=True)
    client = new_client(spool=False)
    for _ in range(300):
        record(client, 1, os.urandom(300_000).hex())
    stats = client.stats()
    assert stats.dropped["queue-full"] > 50
    assert stats.pending > 50
    assert [r.levelname for r in caplog.records if "[queue-full]" in r.message] == ["WARNING"]
    endpoint.behave = receipt
    endpoint.release()
    assert client.flush().delivered == stats.pending


def test_an_outage_is_told_once_and_its_end_once(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sessionbat")
    failures = iter([Answer(503)] * 5 + [Answer(reset=True)] * 4)
    endpoint.behave = lambda request: next(failures, None) or receipt(request)
    record(client, 30)
    assert client.flush()
    slugs = [r.message.rpartition("[")[2] for r in caplog.records if r.name == "sessionbat"]
    assert slugs == ["failing]", "recovered]"]


def test_the_log_never_holds_the_key_or_the_payload(
    endpoint: Endpoint, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = new_client(api_key="sbat_ingest_verysecret")
    refusal = Answer(422, {}, b'{"error": {"slug": "bad-event"}}')
    answers = iter([Answer(503), Answer(reset=True), refusal])
    endpoint.behave = lambda request: next(answers, None) or Answer(401)
    record(client, 5, "a private prompt")
    client.flush(timeout=0.5)
    assert client.stats().dropped
    assert "verysecret" not in caplog.text
    assert "a private prompt" not in caplog.text


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(
    endpoint: Endpoint, client: SessionBat, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = worker_module.Sender.post_event
    deaths = iter([MemoryError("no memory")])

    def die_once(self: worker_module.Sender, line: bytes) -> object:
        for death in deaths:
            raise death
        return post(self, line)

    monkeypatch.setattr(worker_module.Sender, "post_event", die_once)
    ids = record(client, 10)
    eventually(lambda: not client._recorder._transport._worker.queue.has_taker)
    ids += record(client, 1)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


def test_two_clients_share_a_worker_and_count_apart(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    first, second = new_client(app="first"), new_client(app="second")
    for _ in range(50):
        record(first, 3)
        record(second, 2)
    assert first.flush() and second.flush()
    assert (first.stats().delivered, second.stats().delivered) == (150, 100)
    workers = {client._recorder._transport._worker for client in (first, second)}
    assert len(workers) == 1


def test_counts_of_two_clients_stay_apart_when_one_has_events_refused(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    def only_first(request: Request) -> Answer:
        bad = [event["id"] for event in request.events if event["app"] == "second"]
        if not request.is_batch:
            return Answer(422) if bad else receipt(request)
        return receipt(request, [{"id": event_id, "slug": "wrong-app"} for event_id in bad])

    endpoint.behave = only_first
    first, second = new_client(app="first"), new_client(app="second")
    for _ in range(20):
        record(first, 3)
        record(second, 2)
    assert first.flush()
    assert not second.flush()
    assert first.stats().dropped == {}
    assert sum(second.stats().dropped.values()) == 40


def test_flush_does_not_wait_for_what_is_recorded_after_it(
    endpoint: Endpoint, client: SessionBat
) -> None:
    record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: Answer(hang=True)
    record(client, 1)
    eventually(lambda: len(endpoint.requests) == 2)
    started = time.monotonic()
    result = client.flush(timeout=0.2)
    assert 0.19 < time.monotonic() - started < 2
    assert (result.delivered, result.pending + result.spooled) == (1, 1)
    endpoint.behave = receipt
    endpoint.release()


def test_flush_does_not_linger(endpoint: Endpoint, client: SessionBat) -> None:
    record(client, 1)
    assert client.flush()
    started = time.monotonic()
    for _ in range(20):
        record(client, 2)
        assert client.flush()
    assert time.monotonic() - started < 20 * 0.5


def test_a_closed_client_counts_what_comes_too_late(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture
) -> None:
    record(client, 3)
    assert client.close()
    assert len(record(client, 4)) == 4
    assert client.close() is not None
    stats = client.stats()
    assert (stats.recorded, stats.delivered, stats.dropped) == (7, 3, {"closed": 4})
    assert sum("[closed]" in r.message for r in caplog.records) == 1


def test_the_last_client_stops_the_thread_and_a_new_one_starts_another(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    first = new_client()
    record(first, 1)
    worker = first._recorder._transport._worker
    assert first.close()
    eventually(lambda: not worker._thread.is_alive())
    second = new_client()
    ids = record(second, 3)
    assert second.flush()
    assert endpoint.acknowledged[-3:] == ids


def test_what_is_delivered_is_what_memory_would_hold(
    endpoint: Endpoint, client: SessionBat
) -> None:
    interaction = client.session(session_id="s").interaction(interaction_id="i")
    interaction.retrieval(query="q", documents=[{"id": "d", "score": 0.5}])
    assert client.flush()
    [event] = endpoint.requests[0].events
    assert json.loads(endpoint.requests[0].raw) == event
    assert event["observation"]["output"] == {"documents": [{"id": "d", "score": 0.5}]}


def test_offers_are_understood_in_any_case_and_with_parameters(
    endpoint: Endpoint, client: SessionBat
) -> None:
    def shouting(request: Request) -> Answer:
        answer = receipt(request)
        answer.headers = {
            "Accept-Post": "Application/JSON , APPLICATION/X-NDJSON;charset=utf-8",
            "Accept-Encoding": "br, ZSTD;q=0.9",
        }
        return answer

    assert OFFERS_BATCHES
    endpoint.behave = shouting
    record(client, 30)
    assert client.flush()
    assert len(endpoint.requests) <= 4
