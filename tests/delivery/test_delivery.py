"""What becomes of events, over real sockets: forms, connections, outages, flush and close."""

from __future__ import annotations

import json
import logging
import os
import time

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
from tests.delivery.recorded import NewClient, record

pytestmark = pytest.mark.usefixtures("quick_backoff")


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


def test_delivered_events_equal_those_of_the_memory_transport(
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
