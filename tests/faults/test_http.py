"""What an endpoint may answer, and what becomes of the events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from sessionbat import SessionBat
from sessionbat._delivery import delivering
from sessionbat.testing import (
    OFFERS_BATCHES,
    Answer,
    Endpoint,
    Request,
    receipt,
    single_events_only,
)
from tests.conftest import assert_adds_up, eventually
from tests.faults.conftest import Record

NewClient = Callable[..., SessionBat]


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [
        (r.levelno, r.getMessage().rpartition("[")[2].rstrip("]"))
        for r in caplog.records
        if r.name == "sessionbat"
    ]


def test_429_with_retry_after(endpoint: Endpoint, client: SessionBat, record: Record) -> None:
    """Row 16: no request for as long as it says, then all; recording goes on meanwhile."""
    answers = iter([Answer(429, {"Retry-After": "2"})])
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    ids = record(client, 5)
    eventually(lambda: endpoint.requests)
    ids += record(client, 50)
    assert client.flush()
    waited = endpoint.requests[1].at - endpoint.requests[0].at
    assert 1.99 <= waited < 4
    assert sorted(endpoint.acknowledged) == sorted(ids)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (lambda: "-5", 0.0),
        (lambda: "1000000000", 300.0),
        (lambda: formatdate(time.time() + 100, usegmt=True), 100.0),
        (lambda: formatdate(time.time() + 1e6, usegmt=True), 300.0),
        (lambda: "soon", None),
        (lambda: "1e9", None),
        (lambda: "", None),
    ],
    ids=["negative", "1e9-seconds", "date", "far-date", "garbage", "float", "empty"],
)
def test_retry_after_as_date_negative_huge_or_garbage(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    header: Callable[[], str],
    expected: float | None,
) -> None:
    """Row 17: at most five minutes; garbage means our own backoff."""
    pauses: list[float] = []
    queue = client._recorder._transport._worker.queue  # type: ignore[union-attr]
    monkeypatch.setattr(queue, "pause", pauses.append)
    answers = iter([Answer(503, {"Retry-After": header()})])
    endpoint.behave = lambda request: next(answers, None) or receipt(request)
    record(client, 1)
    assert client.flush()
    [pause] = pauses
    assert pause <= 0.5 if expected is None else expected - 5 <= pause <= expected


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
@pytest.mark.usefixtures("quick_backoff")
def test_passing_failures_without_end(
    endpoint: Endpoint, client: SessionBat, record: Record, status: int
) -> None:
    """Row 18: tried again as often as it takes, the waits are those of test_retry.py."""
    failures = iter([Answer(status)] * 25)
    endpoint.behave = lambda request: next(failures, None) or receipt(request)
    ids = record(client, 20)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)
    assert len(endpoint.requests) >= 26


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("batches", [False, True], ids=["single-events", "batches"])
def test_400_or_422_on_one_event(
    endpoint: Endpoint, client: SessionBat, record: Record, status: int, batches: bool
) -> None:
    """Row 19: that one is given up, counted with its reason and warned of; the rest flow."""

    def refuse_poison(request: Request) -> Answer:
        if b"poison" in request.body:
            return Answer(status)
        return receipt(request) if batches else single_events_only(request)

    endpoint.behave = refuse_poison
    good = record(client, 30)
    record(client, 1, "poison")
    good += record(client, 30)
    result = client.flush()
    assert (result.delivered, result.dropped) == (60, 1)
    assert client.stats().dropped == {f"refused:http-{status}": 1}
    assert sorted(endpoint.acknowledged) == sorted(good)


@pytest.mark.parametrize("status", [401, 403])
def test_401_or_403(
    endpoint: Endpoint,
    client: SessionBat,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    """Row 20: sending stops, spooling goes on, one error line, a try each minute."""
    monkeypatch.setattr(delivering, "DENIED_RETRY_S", 1.0)
    endpoint.behave = lambda request: Answer(status)
    ids = record(client, 20)
    eventually(lambda: client.stats().spooled == 20)
    ids += record(client, 20)
    eventually(lambda: client.stats().spooled == 40)
    eventually(lambda: len(endpoint.requests) >= 3)
    assert all(
        later.at - earlier.at >= 0.9
        for earlier, later in zip(endpoint.requests, endpoint.requests[1:], strict=False)
    )
    assert logged(caplog) == [(logging.ERROR, "denied")]
    endpoint.behave = receipt
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)


@pytest.mark.parametrize("status", [404, 405, 415])
def test_404_405_or_415_on_a_batch(
    endpoint: Endpoint, client: SessionBat, record: Record, status: int
) -> None:
    """Row 21: back to single events, and no further batch unless they are offered anew."""
    record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: (
        Answer(status) if request.is_batch else single_events_only(request)
    )
    for _ in range(3):
        record(client, 30)
        assert client.flush()
    assert [request.is_batch for request in endpoint.requests].count(True) == 1
    assert client.stats().delivered == 91


def test_413_on_a_batch(endpoint: Endpoint, client: SessionBat, record: Record) -> None:
    """Row 22: halved; the one event that is too large alone is cut and says so."""

    def small_only(request: Request) -> Answer:
        return Answer(413) if len(request.body) > 200_000 else receipt(request)

    endpoint.behave = small_only
    ids = record(client, 30)
    ids += record(client, 1, "x" * 700_000)
    ids += record(client, 30)
    assert client.flush()
    assert sorted(endpoint.acknowledged) == sorted(ids)
    [cut] = [e for r in endpoint.requests for e in r.events if e["id"] == ids[30]][-1:]
    assert cut["observation"]["truncated"]["original_bytes"] > 700_000
    assert cut["observation"]["input"].endswith(" characters]")


@pytest.mark.parametrize("status", [307, 308])
def test_307_or_308_on_the_same_host(
    endpoint: Endpoint, new_client: NewClient, record: Record, status: int
) -> None:
    """Row 23: followed, with the key."""

    def moved(request: Request) -> Answer:
        if request.path == "/new":
            return single_events_only(request)
        return Answer(status, {"Location": "/new"})

    endpoint.behave = moved
    client = new_client(api_key="sbat_ingest_key")
    ids = record(client, 3)
    assert client.flush()
    assert endpoint.requests[-1].headers["authorization"] == "Bearer sbat_ingest_key"
    assert endpoint.acknowledged[-3:] == ids


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host(
    endpoint: Endpoint,
    new_client: NewClient,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Row 23: never followed; events are kept, and one error line says what is wrong."""
    with Endpoint() as elsewhere:
        endpoint.behave = lambda request: Answer(status, {"Location": elsewhere.url})
        client = new_client(api_key="sbat_ingest_key")
        record(client, 3)
        eventually(lambda: client.stats().spooled == 3 and logged(caplog))
        assert elsewhere.requests == []
    assert logged(caplog) == [(logging.ERROR, "wrong-address")]
    assert "sbat_ingest_key" not in caplog.text


def test_200_with_an_html_body(
    endpoint: Endpoint, client: SessionBat, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 24: a captive portal has stored nothing; the batch is sent again."""
    monkeypatch.setattr(delivering, "DENIED_RETRY_S", 0.02)
    portals = iter([Answer(200, {"Content-Type": "text/html"}, b"<html>Log in</html>")] * 3)
    ids = record(client, 1)
    assert client.flush()
    endpoint.behave = lambda request: next(portals, None) or receipt(request)
    ids += record(client, 30)
    assert client.flush()
    assert [len(request.ids) for request in endpoint.requests] == [1, 30, 30, 30, 30]
    assert set(endpoint.acknowledged) == set(ids)


@pytest.mark.parametrize("status", [200, 207])
def test_a_success_with_results_for_each_event(
    endpoint: Endpoint, client: SessionBat, record: Record, status: int
) -> None:
    """Row 25: what was rejected is counted by reason, and nothing is sent a second time."""

    def reject_some(request: Request) -> Answer:
        bad = [e["id"] for e in request.events if e["observation"]["input"] == "bad"]
        answer = receipt(request, [{"id": i, "slug": "wrong-app", "at": "app"} for i in bad])
        answer.status = status
        return answer

    endpoint.behave = reject_some
    record(client, 20)
    record(client, 3, "bad")
    result = client.flush()
    assert (result.delivered, result.dropped) == (20, 3)
    assert client.stats().dropped == {"refused:wrong-app": 3}
    sent = [event_id for request in endpoint.requests for event_id in request.ids]
    assert len(sent) == len(set(sent)) == 23


def test_counts_add_up_at_every_moment_of_an_outage(
    endpoint: Endpoint, client: SessionBat, record: Record
) -> None:
    """The invariant of every row: recorded = delivered + pending + spooled + dropped."""
    began = time.monotonic()
    endpoint.behave = lambda request: (
        Answer(503, {"Retry-After": "0"})
        if (time.monotonic() - began) % 0.8 < 0.5
        else receipt(request, [{"id": request.ids[0], "slug": "odd"}])
    )
    ever_spooled = 0
    for _ in range(100):
        record(client, 20)
        assert_adds_up(client)
        ever_spooled += client.stats().spooled
        time.sleep(0.01)  # the pace of the load
    client.flush()
    stats = client.stats()
    assert_adds_up(client)
    assert ever_spooled > 0
    assert (stats.recorded, stats.pending, stats.spooled) == (2000, 0, 0)
    assert stats.delivered == len(set(endpoint.acknowledged))
    assert OFFERS_BATCHES
