"""What the endpoint had already: counted apart, and said once where no second try explains it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sessionbat import SessionBat
from sessionbat.testing import OFFERS_BATCHES, Answer, Endpoint, Request
from tests.conftest import eventually
from tests.delivery.recorded import NewClient

pytestmark = pytest.mark.usefixtures("quick_backoff")

SINGLE = pytest.mark.parametrize("batches", [True, False])


class Storing:
    """Stores each (app, session, id) once, as a server does; ``before`` may spoil an answer."""

    def __init__(self, *, batches: bool = True) -> None:
        self.there: set[tuple[str, str, str]] = set()
        self.headers = dict(OFFERS_BATCHES) if batches else {}
        self.spoilt: list[Answer] = []

    def __call__(self, request: Request) -> Answer:
        events = request.events
        keys = [(event["app"], event["session_id"], event["id"]) for event in events]
        new = set(keys) - self.there
        self.there |= new
        if self.spoilt:
            return self.spoilt.pop()
        receipt = {"accepted": len(new), "duplicates": len(keys) - len(new), "rejected": []}
        return Answer(202, dict(self.headers), json.dumps(receipt).encode())


def record(client: SessionBat, *ids: str, session: str = "s") -> None:
    interaction = client.session(session_id=session).interaction()
    for each in ids:
        interaction.llm(observation_id=each, model="m", input="hi")


def said(caplog: pytest.LogCaptureFixture) -> int:
    return caplog.text.count("[duplicate-id]")


@SINGLE
def test_a_duplicate_id_is_counted_and_logged_once(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture, batches: bool
) -> None:
    endpoint.behave = Storing(batches=batches)
    for _ in range(3):
        record(client, "a", "b", *(f"step-{n}" for n in range(8)))
        assert client.flush()
    stats = client.stats()
    assert (stats.recorded, stats.delivered, stats.duplicates) == (30, 30, 20)
    assert said(caplog) == 1
    assert "step-1" not in caplog.text


def test_the_same_id_in_two_sessions_is_no_duplicate(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.behave = Storing()
    for session in ("s1", "s2", "s3"):
        record(client, "a", "b", session=session)
    assert client.flush()
    assert (client.stats().duplicates, said(caplog)) == (0, 0)


@SINGLE
@pytest.mark.parametrize("spoilt", [Answer(reset=True), Answer(503), Answer(429)])
def test_duplicates_caused_by_a_retry_are_counted_and_not_logged(
    endpoint: Endpoint,
    client: SessionBat,
    caplog: pytest.LogCaptureFixture,
    batches: bool,
    spoilt: Answer,
) -> None:
    endpoint.behave = storing = Storing(batches=batches)
    record(client, "first")
    assert client.flush()
    storing.spoilt = [spoilt]
    record(client, "a", "b", "c")
    assert client.flush()
    assert client.stats().duplicates == (3 if batches else 1)
    assert client.stats().delivered == 4
    assert said(caplog) == 0


def test_a_worker_that_died_after_sending_explains_duplicates(
    endpoint: Endpoint,
    client: SessionBat,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint.behave = Storing()
    worker = client._recorder._transport._worker
    post = worker._sender.post_event
    deaths = iter([MemoryError("no memory")])

    def die_once(line: bytes) -> object:
        outcome = post(line)
        for death in deaths:
            raise death
        return outcome

    # Of this worker only: one of an earlier test may be sending still.
    monkeypatch.setattr(worker._sender, "post_event", die_once)
    record(client, "a")
    eventually(lambda: not worker.queue.has_taker)
    record(client, "b")
    assert client.flush()
    assert (client.stats().delivered, client.stats().duplicates) == (2, 1)
    assert said(caplog) == 0


@pytest.mark.slow  # a process of its own
def test_duplicates_among_adopted_events_are_not_logged(
    endpoint: Endpoint, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    storing = Storing()
    # It stores what it is sent and never says so, until the other process has gone.
    endpoint.behave = lambda request: (storing(request), Answer(503))[1]
    done = subprocess.run([sys.executable, "-c", LEAVING, endpoint.url], check=False, timeout=40)
    assert (done.returncode, len(storing.there) > 0) == (7, True)
    endpoint.behave = storing
    record(client := new_client(), "b")
    assert client.flush()
    assert eventually(lambda: client.stats().adopted == 1)
    assert (client.stats().duplicates, said(caplog)) == (0, 0)


LEAVING = """
import os, sys, time
from sessionbat import SessionBat
client = SessionBat(app="test-app", endpoint=sys.argv[1])
client.session(session_id="s").interaction().llm(observation_id="a", model="m", input="hi")
while not client.stats().spooled:
    time.sleep(0.01)  # between two looks
os._exit(7)
"""


def test_duplicates_are_counted_for_the_client_whose_they_are(
    endpoint: Endpoint, new_client: NewClient
) -> None:
    endpoint.behave = Storing()
    first, second = new_client(app="first"), new_client(app="second")
    for n in range(2):
        record(first, "a", "b")
        assert first.flush()
        record(second, f"new-{n}")
        assert second.flush()
    assert (first.stats().duplicates, second.stats().duplicates) == (2, 0)


@pytest.mark.parametrize("duplicates", [-1, True, "3", None, 1.0, {}])
def test_an_invalid_count_of_duplicates_is_ignored(
    endpoint: Endpoint, client: SessionBat, caplog: pytest.LogCaptureFixture, duplicates: object
) -> None:
    body = json.dumps({"duplicates": duplicates}).encode()
    endpoint.behave = lambda request: Answer(202, {}, body)
    record(client, "a", "b")
    assert client.flush()
    assert (client.stats().duplicates, said(caplog)) == (0, 0)
