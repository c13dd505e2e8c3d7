"""Signals: a process that is ended, stopped or interrupted from outside."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from sessionbat.server.serving import running
from sessionbat.server.settings import Settings
from sessionbat.testing import OFFERS_BATCHES, Answer, Endpoint, Request, receipt
from tests.conftest import eventually
from tests.faults.host import Host, deliver_the_rest, on_disk, run, stored, wait_until_on_disk

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

UP = {"endpoint-up": True, "endpoint-down": False}

#: The signal comes 250 ms after the last record, by the host's own clock.
SIGNALLED = "record(150)\ntime.sleep(0.25)\nos.kill(os.getpid(), signal.{})\ntime.sleep(60)"


@pytest.mark.parametrize("up", UP.values(), ids=UP)
def test_sigterm_with_the_default_handler(endpoint: Endpoint, up: bool) -> None:
    """Row 4: no handler of ours, and nothing lost."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    done = run(
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n" + SIGNALLED.format("SIGTERM"),
        endpoint.url,
    )
    assert done.returncode == -signal.SIGTERM
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 150}
    assert on_disk() == []


def test_sigterm_with_the_apps_own_handler(endpoint: Endpoint) -> None:
    """Row 5: the app's handler is untouched and runs."""
    done = run(
        """
        def handler(number, frame):
            say("handled")
            record(1, "handler")
            sys.exit(5)
        signal.signal(signal.SIGTERM, handler)
        record(150)
        client.flush(0)
        assert signal.getsignal(signal.SIGTERM) is handler
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # until the signal
        """,
        endpoint.url,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "handled", "")
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 150, "handler": 1}


@pytest.mark.parametrize("up", UP.values(), ids=UP)
def test_sigkill_250_ms_after_the_last_record(endpoint: Endpoint, up: bool) -> None:
    """Row 6: all of it is delivered by the next process, none of it twice."""
    if not up:
        endpoint.behave = lambda request: Answer(503)
    assert run(SIGNALLED.format("SIGKILL"), endpoint.url).returncode == -signal.SIGKILL
    assert len(on_disk()) == (0 if up else 150)
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"hello": 150}
    assert len(endpoint.acknowledged) == 150
    assert on_disk() == []


@pytest.mark.parametrize("gap_ms", [0, 90])
def test_sigkill_250_ms_after_the_last_record_while_others_are_being_written(
    endpoint: Endpoint, gap_ms: int
) -> None:
    """Row 6: also when the keeper has just written something else."""
    endpoint.behave = lambda request: Answer(503)
    # Pauses as long as the promise: what is older than 250 ms is on disk.
    code = f"record(1100)\ntime.sleep({gap_ms} / 1000 + 0.02)\nrecord(950)\nrecord(100, 'last')\n"
    code += "time.sleep(0.25)\nos.kill(os.getpid(), signal.SIGKILL)"  # the promise
    run(code, endpoint.url)
    assert len(on_disk()) == 2150


@pytest.mark.slow
def test_sigkill_at_a_random_moment_during_a_steady_load(endpoint: Endpoint) -> None:
    """Row 6: whatever is older than 250 ms survives, at each of 8 moments."""
    endpoint.behave = lambda request: Answer(503)
    # A steady load.
    code = "while True:\n    record(5)\n    say(time.monotonic())\n    time.sleep(0.01)"
    recorded = 0
    for moment in range(8):
        said = []
        with Host(code, endpoint.url) as host:
            began = time.monotonic()
            while time.monotonic() - began < 0.5 + moment * 0.03:
                said.append(float(host.hear()))
            killed = time.monotonic()
            host.process.kill()
        recorded += 5 * sum(at <= killed - 0.3 for at in said)
        assert len(on_disk()) >= recorded
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert stored(endpoint)["hello"] >= recorded


def test_sigkill_in_the_middle_of_a_spool_write(endpoint: Endpoint) -> None:
    """Row 7: the torn record is skipped and counted, all earlier ones are delivered."""
    endpoint.behave = lambda request: Answer(503)
    done = run(
        """
        from sessionbat._delivery import segment
        pwrite = os.pwrite
        def torn(descriptor, data, offset):
            if b"torn" in data or offset > 0:
                pwrite(descriptor, data[:len(data) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return pwrite(descriptor, data, offset)
        record(1)
        until(lambda: client.stats().spooled)
        segment.os.pwrite = torn
        record(100, "torn")
        time.sleep(60)  # until the signal
        """,
        endpoint.url,
    )
    assert done.returncode == -signal.SIGKILL
    endpoint.behave = receipt
    again = run("while not client.flush(1) or not client.stats().adopted: pass", endpoint.url)
    assert "dropped 1 event: their record in the spool was damaged" in again.stderr
    assert stored(endpoint) == {"hello": 1}
    assert on_disk() == []


def test_sigkill_between_the_2xx_and_its_arrival(tmp_path: Path) -> None:
    """Row 8: sent again with the same ids; a SessionBat server keeps one of each."""
    store = f"sqlite:///{tmp_path / 'events.db'}"
    with running(Settings(port=0, store_url=store)) as server:
        ingestion = f"{server}/api/v1/ingestion/events"

        def take_and_kill(request: Request) -> Answer:
            wait_until_on_disk(50)
            answer = pass_on(request, ingestion)
            host.process.kill()
            host.process.wait()
            return answer

        with Endpoint(take_and_kill) as between:
            # It is killed while it waits.
            with Host("record(50)\ntime.sleep(60)", between.url) as host:
                assert host.process.wait(30) == -signal.SIGKILL
            between.behave = lambda request: pass_on(request, ingestion)
            assert deliver_the_rest(between.url) == 50
        with urllib.request.urlopen(f"{server}/api/v1/session?app=test-app&session_id=s") as answer:
            assert b'"observations":50' in answer.read().replace(b" ", b"")


def pass_on(request: Request, url: str) -> Answer:
    headers = {k: v for k, v in request.headers.items() if k.startswith("content-")}
    with urllib.request.urlopen(urllib.request.Request(url, request.raw, headers)) as answer:
        return Answer(answer.status, dict(OFFERS_BATCHES), answer.read())


def test_sigstop_then_cont_after_the_endpoint_closed_the_connection(endpoint: Endpoint) -> None:
    """Row 9: a stale connection is replaced; the 60 s of the row are the endpoint's patience."""
    code = "for line in sys.stdin:\n    record(50)\n    say(bool(client.flush(10)))"
    with Host(code, endpoint.url) as host:
        host.tell()
        assert host.hear() == "True"
        host.process.send_signal(signal.SIGSTOP)
        for connection in list(endpoint._open):
            connection.shutdown(2)
        eventually(lambda: not endpoint._open)
        host.process.send_signal(signal.SIGCONT)
        host.tell()
        assert host.hear() == "True"
        host.process.stdin.close()  # type: ignore[union-attr]
        assert host.process.wait(20) == 0
    assert stored(endpoint) == {"hello": 100}
    assert len(endpoint.acknowledged) == 100


def test_ctrl_c_during_a_flush(endpoint: Endpoint) -> None:
    """Row 10: returns at once, and the events are kept."""
    endpoint.behave = lambda request: Answer(hang=True)
    with Host(
        """
        record(10)
        say("flushing")
        try:
            client.flush(None)
        except KeyboardInterrupt:
            say(time.monotonic(), counts().pending + counts().spooled)
        """,
        endpoint.url,
    ) as host:
        assert host.hear() == "flushing"
        eventually(lambda: endpoint.requests)
        interrupted = time.monotonic()
        os.kill(host.process.pid, signal.SIGINT)
        at, kept = host.hear().split()
        assert float(at) - interrupted < 1  # 0.1 s, and a machine under load
        assert kept == "10"
        assert host.end().returncode == 0
    assert len(on_disk()) == 10


@pytest.mark.parametrize("durability", ["memory", "sync"])
def test_recording_in_a_signal_handler_that_interrupts_recording(
    endpoint: Endpoint, durability: str
) -> None:
    """Row 55: no deadlock, and nothing lost, wherever the signal comes."""
    endpoint.behave = lambda request: Answer(503) if durability == "sync" else receipt(request)
    done = run(
        """
        signal.signal(signal.SIGALRM, lambda *_: record(1, "handler"))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(10):
            record(100)
        signal.setitimer(signal.ITIMER_REAL, 0)
        s = counts()
        say(s.recorded, sum(s.dropped.values()))
        """,
        endpoint.url,
        options=f"durability={durability!r}",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    recorded, dropped = map(int, done.stdout.split())
    assert dropped == 0
    if durability == "sync":
        assert len(on_disk()) == recorded
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    texts = stored(endpoint)
    assert texts["hello"] == 1000
    assert texts["handler"] == recorded - 1000 > 0
