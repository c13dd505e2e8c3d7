"""What an endpoint has settled is not sent again, however the process ended that sent it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionbat import SessionBat
from sessionbat._delivery.spool import open_spool
from sessionbat._settings import Destination
from sessionbat.spooled import list_spools
from sessionbat.testing import Answer, Behaviour, Endpoint, Request, receipt, single_events_only
from tests.conftest import eventually
from tests.faults.host import NEXT, Host, deliver_the_rest, on_disk, run, wait_until_on_disk
from tests.faults.short_processes import slowly

NewClient = Callable[..., SessionBat]


@pytest.fixture
def root() -> Path:
    return Path(os.environ["SESSIONBAT_SPOOL_DIR"])


def leave_behind(endpoint: Endpoint, root: Path, events: int, each: int = 1000) -> list[str]:
    """Write segments of records with so many events each, as a process that has ended."""
    spool = open_spool(Destination(endpoint.url, None), "", str(root))
    assert spool is not None
    ids = [f"old-{n}" for n in range(events)]
    for start in range(0, events, each):
        some = ids[start : start + each]
        spool.append(b"".join(b'{"id":"%s"}\n' % name.encode() for name in some), len(some))
    spool.close()
    return ids


def hanging_after(number: int, behave: Behaviour) -> Behaviour:
    """Answer so many requests, and none after those."""
    return lambda request: behave(request) if request.number < number else Answer(hang=True)


def sent(endpoint: Endpoint) -> Counter[str]:
    return Counter(event_id for request in endpoint.requests for event_id in request.ids)


def kill_while_it_waits(endpoint: Endpoint, requests: int, code: str = "") -> None:
    """Run a process that delivers what it can, and kill it once no answer comes any more."""
    with Host(f"record(1, 'own')\n{code}\nsay('on')\nsys.stdin.readline()", endpoint.url) as host:
        assert host.hear() == "on"
        eventually(lambda: len(endpoint.requests) >= requests, 20)
        eventually(lambda: not set(on_disk()) & set(endpoint.acknowledged), 20)


@pytest.mark.slow
@pytest.mark.parametrize(("behave", "in_flight"), [(single_events_only, 12), (receipt, 1000)])
def test_a_killed_process_leaves_only_in_flight_events_to_be_sent_again(
    endpoint: Endpoint, root: Path, behave: Behaviour, in_flight: int
) -> None:
    ids = leave_behind(endpoint, root, 3500)
    endpoint.behave = hanging_after(3 if behave is receipt else 300, behave)
    kill_while_it_waits(endpoint, 4 if behave is receipt else 301)
    taken = set(endpoint.acknowledged) & set(ids)
    assert len(on_disk()) == len(ids) - len(taken)
    endpoint.release()
    endpoint.behave = behave
    deliver_the_rest(endpoint.url)
    assert set(ids) <= set(endpoint.acknowledged)
    again = [event_id for event_id, times in sent(endpoint).items() if times > 1]
    assert len(again) <= in_flight
    assert not set(again) & taken


@pytest.mark.slow
def test_refused_events_are_not_sent_again_either(endpoint: Endpoint, root: Path) -> None:
    ids = leave_behind(endpoint, root, 400)

    def picky(request: Request) -> Answer:
        old = [event_id for event_id in request.ids if event_id.startswith("old-")]
        return Answer(422) if old and int(old[0][4:]) % 5 == 0 else Answer(202)

    endpoint.behave = hanging_after(200, picky)
    kill_while_it_waits(endpoint, 201)
    endpoint.release()
    endpoint.behave = picky
    run(NEXT, endpoint.url)
    assert len({i for i in endpoint.acknowledged if i in set(ids)}) == 320
    again = [event_id for event_id, times in sent(endpoint).items() if times > 1]
    # What was in flight; and the first one of each process, whose refusal is doubted as long as the
    # endpoint has taken nothing.
    assert len(again) <= 12 + 2


@pytest.mark.slow
def test_events_refused_within_a_batch_are_not_sent_again_either(
    endpoint: Endpoint, root: Path
) -> None:
    leave_behind(endpoint, root, 3000)

    def picky(request: Request) -> Answer:
        bad = [{"id": i, "slug": "bad-event"} for i in request.ids if i.endswith("7")]
        return receipt(request, bad)

    endpoint.behave = hanging_after(3, picky)
    kill_while_it_waits(endpoint, 4)
    endpoint.release()
    endpoint.behave = picky
    run(NEXT, endpoint.url)
    counts = sent(endpoint)
    assert {n for i, n in counts.items() if i in set(endpoint.acknowledged)} <= {1, 2}
    assert sum(counts.values()) - len(counts) <= 1000


@pytest.mark.slow
def test_a_segment_that_two_processes_had_in_turn_is_finished_by_a_third(
    endpoint: Endpoint, root: Path
) -> None:
    ids = leave_behind(endpoint, root, 900)
    for turn in (1, 2):
        before = len(endpoint.requests)
        endpoint.behave = hanging_after(before + 250, single_events_only)
        kill_while_it_waits(endpoint, before + 251)
        assert len(on_disk()) <= 900 - turn * 225
    endpoint.release()
    endpoint.behave = single_events_only
    deliver_the_rest(endpoint.url)
    assert set(ids) <= set(endpoint.acknowledged)
    assert max(Counter(endpoint.acknowledged).values()) == 1
    assert not list(root.rglob("*.done"))


@pytest.mark.slow
def test_a_damaged_note_costs_a_second_sending_and_no_event(endpoint: Endpoint, root: Path) -> None:
    ids = leave_behind(endpoint, root, 600)
    endpoint.behave = hanging_after(300, single_events_only)
    kill_while_it_waits(endpoint, 301)
    [notes] = root.rglob("*.done")
    data = bytearray(notes.read_bytes())
    data[16 * 100 : 16 * 110] = bytes(160)
    notes.write_bytes(data[:-5])
    endpoint.release()
    endpoint.behave = single_events_only
    deliver_the_rest(endpoint.url)
    assert set(ids) <= set(endpoint.acknowledged)
    assert len(endpoint.acknowledged) - len(set(endpoint.acknowledged)) == 11


@pytest.mark.slow
def test_single_records_of_sync_durability_are_sent_in_batches(
    endpoint: Endpoint,
) -> None:
    endpoint.behave = lambda request: Answer(503)
    run("record(2500)\nos._exit(0)", endpoint.url, options='durability="sync"')
    assert len(on_disk()) == 2500
    endpoint.requests.clear()
    endpoint.behave = hanging_after(2, receipt)
    kill_while_it_waits(endpoint, 3)
    assert 0 < len(on_disk()) < 2500
    endpoint.release()
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert len(endpoint.requests) < 20
    assert max(Counter(endpoint.acknowledged).values()) == 1


@pytest.mark.slow
def test_a_segment_of_a_hundred_thousand_tiny_events_goes_forward(
    endpoint: Endpoint, root: Path
) -> None:
    ids = leave_behind(endpoint, root, 100_000)
    endpoint.behave = hanging_after(40, receipt)
    kill_while_it_waits(endpoint, 41)
    assert len(on_disk()) <= 62_000
    endpoint.release()
    endpoint.behave = receipt
    deliver_the_rest(endpoint.url)
    assert set(ids) <= set(endpoint.acknowledged)
    assert sum(sent(endpoint).values()) <= 1.02 * len(sent(endpoint))


@pytest.mark.slow
def test_a_process_notes_which_of_its_own_events_are_done(endpoint: Endpoint) -> None:
    endpoint.behave = hanging_after(100, single_events_only)
    with Host("record(500)\nsay('on')\nsys.stdin.readline()", endpoint.url) as host:
        assert host.hear() == "on"
        wait_until_on_disk(400)
        eventually(lambda: len(on_disk()) == 400, 10)
    assert len(on_disk()) == 400
    assert not set(on_disk()) & set(endpoint.acknowledged)


@pytest.mark.slow
def test_spool_send_that_is_interrupted_goes_on_where_it_was(
    endpoint: Endpoint, root: Path
) -> None:
    ids = leave_behind(endpoint, root, 2000)
    endpoint.behave = slowly(single_events_only, 0.01)
    command = [sys.executable, "-m", "sessionbat", "spool", "send"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: len(endpoint.acknowledged) > 300, 20)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=20)
    assert b"Traceback" not in said
    assert len(set(endpoint.acknowledged)) < 2000
    [spooled] = list_spools()
    assert spooled.events <= 2000 - 300
    endpoint.behave = single_events_only
    second = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert second.returncode == 0
    assert set(endpoint.acknowledged) == set(ids)
    assert len(endpoint.acknowledged) <= 1.02 * len(ids)
    assert list_spools() == []


def test_adopted_events_never_delay_a_processs_own_events(
    endpoint: Endpoint, new_client: NewClient, root: Path
) -> None:
    leave_behind(endpoint, root, 5000)
    endpoint.behave = slowly(single_events_only)
    client = new_client()
    client.session().interaction().llm(model="m")
    assert client.flush(5)
    for _ in range(3):
        before = client.stats().adopted
        eventually(lambda: client.stats().adopted > before + 20, 5)  # noqa: B023
        client.session().interaction().llm(model="m")
        started = time.monotonic()
        assert client.flush(5)
        assert time.monotonic() - started < 1, "5,000 of others take 20 s"
    client.close(0)


def test_close_continues_with_adopted_events_and_flush_does_not_wait(
    endpoint: Endpoint, new_client: NewClient, root: Path
) -> None:
    leave_behind(endpoint, root, 300)
    endpoint.behave = slowly(single_events_only, 0.02)
    client = new_client(exit_timeout=20)
    client.session().interaction().llm(model="m")
    assert client.flush(30)
    assert client.stats().adopted < 300
    assert client.close(20)
    assert client.stats().adopted == 300


@pytest.mark.slow
def test_all_closings_together_spend_no_more_on_others_than_one_exit(
    endpoint: Endpoint, new_client: NewClient, root: Path
) -> None:
    leave_behind(endpoint, root, 5000)
    endpoint.behave = slowly(single_events_only)
    started = time.monotonic()
    for _ in range(6):
        client = new_client(exit_timeout=1)
        client.session().interaction().llm(model="m")
        assert client.close(30)
    assert time.monotonic() - started < 5, "six exits would take longer"


@pytest.mark.slow
def test_two_processes_at_once_share_the_orphaned_segments(endpoint: Endpoint, root: Path) -> None:
    for _ in range(6):
        leave_behind(endpoint, root, 200)
    endpoint.behave = slowly(single_events_only)
    code = "record(1)\nclient.flush(5)\nclient.close(3)\nsay(client.stats().adopted)"
    with Host(code, endpoint.url) as one, Host(code, endpoint.url) as other:
        shares = [int(host.hear(30)) for host in (one, other)]
    assert min(shares) > 100
