"""A process that is stopped for longer than a request may take: the host, or the endpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from sessionbat._delivery.posting import REQUEST_DEADLINE_S
from sessionbat.testing import Answer, Endpoint, Request, receipt
from tests.conftest import eventually
from tests.faults.host import Host, deliver_the_rest, on_disk, stored

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]  # processes, and a request's deadline

STOPS = [REQUEST_DEADLINE_S + 2, pytest.param(60.0, marks=pytest.mark.long)]

STEADY = """
for line in sys.stdin:
    took = 0.0
    for n in range(100):
        began = time.perf_counter()
        record(1, line.strip())
        took = max(took, time.perf_counter() - began)
    say(took)
    client.flush(0 if line.startswith("before") else 30)
    say(counts().delivered)
"""


def stand_still(seconds: float) -> None:
    threading.Event().wait(seconds)  # there is no condition: the time itself is what is tested


@pytest.mark.parametrize("seconds", STOPS)
def test_the_host_is_stopped_in_the_middle_of_a_request(endpoint: Endpoint, seconds: float) -> None:
    """SIGSTOP while an answer is under way: no loss, and nothing stored but once."""
    slow = threading.Event()

    def behave(request: Request) -> Answer:
        slow.wait(30)
        return receipt(request)

    endpoint.behave = behave
    with Host(STEADY, endpoint.url) as host:
        host.tell("before")
        host.hear()
        eventually(lambda: endpoint.requests)
        host.process.send_signal(signal.SIGSTOP)
        slow.set()
        stand_still(seconds)
        host.process.send_signal(signal.SIGCONT)
        host.tell("after")
        host.hear()  # of the first line
        assert float(host.hear()) < 0.2
        assert host.hear(40) == "200"
        host.process.stdin.close()  # type: ignore[union-attr]
        assert host.process.wait(20) == 0
    deliver_the_rest(endpoint.url)
    assert stored(endpoint) == {"before": 100, "after": 100}
    assert on_disk() == []


#: An endpoint in a process of its own, which says what it took when it is told to end.
SERVER = """
import json, sys
from sessionbat.testing import Endpoint
with Endpoint() as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.readline()
    taken = {e["id"]: e["observation"]["input"] for r in endpoint.requests for e in r.events}
    print(json.dumps([[i, taken[i]] for i in endpoint.acknowledged]), flush=True)
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("seconds", STOPS)
def test_the_endpoint_is_stopped(server: subprocess.Popen[str], seconds: float) -> None:
    """It accepts connections and answers nothing: kept on disk, and a flush says so."""
    url = server.stdout.readline().strip()  # type: ignore[union-attr]
    code = f"""
    record(100, "before")
    say(client.flush(10).delivered)
    sys.stdin.readline()
    began = time.perf_counter()
    record(100, "during")
    say(time.perf_counter() - began < 0.5)
    result = client.flush(1)
    say(result.delivered, result.pending + result.spooled, bool(result))
    time.sleep({seconds})  # how long the other one is stopped
    say("stood")
    sys.stdin.readline()
    record(100, "after")
    say(bool(client.flush(90)))
    """
    with Host(code, url) as host:
        assert host.hear() == "100"
        server.send_signal(signal.SIGSTOP)
        try:
            host.tell()
            assert host.hear() == "True"
            assert host.hear() == "100 100 False"
            assert host.hear(seconds + 30) == "stood"
        finally:
            server.send_signal(signal.SIGCONT)
        host.tell()
        assert host.hear(100) == "True"
        assert host.end().returncode == 0
    assert on_disk() == []
    answer, _ = server.communicate("end\n", timeout=20)
    taken = dict(json.loads(answer))
    assert Counter(taken.values()) == {"before": 100, "during": 100, "after": 100}
