"""Spans to a backend from a host that does not help: no close, no flush, killed, forked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessionbat.testing import Answer, unused_port
from tests.collector import Collector
from tests.faults.host import NEXT, Ended, on_disk, run

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]  # processes of their own

BEFORE = "from sessionbat.transports import OTLPTransport"
KEPT = "transport=OTLPTransport(sys.argv[1])"
NOT_KEPT = "transport=OTLPTransport(sys.argv[1], spool=False)"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running
        assert not running.malformed


def host(code: str, collector_url: str, options: str = KEPT) -> Ended:
    return run(code, collector_url, options, BEFORE)


def deliver_the_rest(collector: Collector) -> int:
    done = host(NEXT, collector.url)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("options", [KEPT, NOT_KEPT])
def test_a_host_that_never_closes_loses_nothing(collector: Collector, options: str) -> None:
    done = host("record(500)", collector.url, options)
    assert (done.returncode, done.stderr) == (0, "")
    deliver_the_rest(collector)
    assert len(set(collector.acknowledged)) == 500


def test_a_host_that_is_gone_at_once_leaves_its_events_to_the_next(collector: Collector) -> None:
    answer, collector.behave = collector.behave, lambda _: Answer(503)
    code = "record(40)\nuntil(lambda: counts().spooled == 40)\nos._exit(1)"
    assert host(code, collector.url).returncode == 1
    collector.behave = answer
    assert deliver_the_rest(collector) == 40
    assert len(set(collector.acknowledged)) == 40
    assert on_disk() == []


@pytest.mark.parametrize("ending", ["raise SystemExit(3)", "os.kill(os.getpid(), 9)"])
def test_a_backend_that_is_not_there_neither_holds_up_the_end_nor_loses(ending: str) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}/v1/traces"
    waited = "began = time.monotonic()\nrecord(30)\nsay(time.monotonic() - began < 1)\n"
    done = host(f"{waited}until(lambda: counts().spooled == 30)\n{ending}", url)
    assert done.stdout == "True"
    with Collector(port=port) as collector:
        assert deliver_the_rest(collector) == 30
        assert len(set(collector.acknowledged)) == 30


def test_what_is_not_kept_is_counted_when_no_backend_is_there() -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1/traces"
    done = host("record(7)\nclient.close(0.2)\nsay(counts().pending)", url, NOT_KEPT)
    assert (done.returncode, done.stdout) == (0, "7")
    assert "dropped 7 events" in done.stderr and "[exit]" in done.stderr


def test_a_forked_child_and_its_parent_each_send_their_own(collector: Collector) -> None:
    code = """
        record(10)
        pid = os.fork()
        if pid == 0:
            record(5)
            client.flush(10)
            say(counts().recorded)
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        client.flush(10)
        say(counts().recorded)
        """
    done = host(code, collector.url)
    assert (done.returncode, done.stdout.split()) == (0, ["5", "10"]), done.stderr
    deliver_the_rest(collector)  # perhaps once more what the child had no time to delete
    assert len(set(collector.acknowledged)) == 15
